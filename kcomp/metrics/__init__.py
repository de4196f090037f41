"""Scores by name, with their intervals and tests."""
