"""Faster layers for JAX on a CPU."""
