"""Compiled JAX programs, kept by what they compute."""
