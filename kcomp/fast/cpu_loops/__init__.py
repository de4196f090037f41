"""Loops over the numbers of PyTorch tensors, compiled by Numba, for training and prediction on a CPU."""
