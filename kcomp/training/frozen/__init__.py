"""Separate frozen from trained layers, and compute and cache the outputs of the frozen layers."""
