"""Keras networks as kcomp sees them: layer graph, starting weights, precision and devices."""
