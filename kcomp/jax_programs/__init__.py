"""Compile each JAX program once, and reuse it in later folds, seeds and processes.

Programs are stored under a cache key: a text that describes everything a program computes.
"""
