"""Compile each JAX program once, and reuse it in later folds, seeds and processes.

A program is stored under a cache key: a text that describes everything the program computes.
"""
