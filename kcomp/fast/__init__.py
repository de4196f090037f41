"""Keras's layers, networks and updates at the speed of the framework below them, with the same results."""
