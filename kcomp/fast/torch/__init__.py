"""Faster layers, networks and updates for PyTorch."""
