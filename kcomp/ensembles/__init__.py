"""Ensembles: combine the predictions of several runs, and score the combination."""

TREES = ("bag", "boost", "lightgbm")  # equals methods.trees.KINDS
METHODS = (
    "mean",
    "median",
    "vote",
    "gmean",
    "rank",
    "search",
    "greedy",
    "stack",
    *TREES,
)  # equals methods.fitting.METHODS
CALIBRATIONS = ("temperature", "isotonic", "vector")  # equals methods.calibration.FITS
