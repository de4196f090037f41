"""Combine the predictions of several runs (an ensemble), and score the result."""

METHODS = ("mean", "median", "vote", "gmean", "rank", "search", "greedy", "stack")  # equals methods.fitting.METHODS
