"""Compile JAX programs once, and store them by cache keys that describe what they compute."""
