"""Compiled loops (Numba) over the numbers of PyTorch tensors, for training and prediction on a CPU."""
