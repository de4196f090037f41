"""Snapshots and averages of the weights of a stage."""
