"""Separate the frozen layers of a network from the trained layers, and cache the outputs of the frozen layers."""
