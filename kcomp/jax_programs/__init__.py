"""Compile each JAX program once, and reuse it in later folds, seeds and processes.

A cache key is a text that describes everything a program computes.
"""
