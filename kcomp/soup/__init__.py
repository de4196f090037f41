"""Averages of the weights of runs."""
