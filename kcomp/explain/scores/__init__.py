"""Scores of the held-out rows: all, by class, label or number, and the calibration of probabilities."""
