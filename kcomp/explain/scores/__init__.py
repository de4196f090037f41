"""Score the held-out rows: all rows, and each class, label or number. Measure the calibration of probabilities."""
