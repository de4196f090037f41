"""Faster layers, training steps and optimizer updates for Keras. kcomp.fast.patches lists all of them.

Results are the same up to rounding.
"""
