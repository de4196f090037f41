"""Check the folds, and say how much of a score is noise."""
