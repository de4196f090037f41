"""Faster layers, networks and optimizer updates for PyTorch."""
