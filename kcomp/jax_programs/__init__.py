"""Compile JAX programs once, and store them under cache keys that describe what they compute."""
