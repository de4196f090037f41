"""Joining the predictions of runs, whatever made them."""

METHODS = ("mean", "vote", "gmean", "rank", "search", "greedy", "stack")
