"""Scores of the held-out rows, in total and by class, label or number, and the calibration of probabilities."""
