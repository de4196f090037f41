"""Ensembles: combine the predictions of several runs, and score the combination."""

METHODS = ("mean", "median", "vote", "gmean", "rank", "search", "greedy", "stack")  # equals methods.fitting.METHODS
CALIBRATIONS = ("temperature", "isotonic", "vector")  # equals methods.calibration.FITS
