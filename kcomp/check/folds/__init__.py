"""Check the folds, and estimate the noise of a score."""
