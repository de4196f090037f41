"""Join the predictions of runs, and score the result."""

METHODS = ("mean", "median", "vote", "gmean", "rank", "search", "greedy", "stack")  # equals methods.fitting.METHODS
