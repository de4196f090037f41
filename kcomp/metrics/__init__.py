"""Scores of class probabilities, their confidence intervals and significance tests."""
