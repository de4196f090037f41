"""Loops over PyTorch's tensors, compiled by Numba."""
