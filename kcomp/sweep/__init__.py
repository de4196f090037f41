"""Train many runs, on this machine or on a Ray cluster.

A run is one training of a recipe with one backend, seed and fold.
"""
