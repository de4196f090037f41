"""Joining the predictions of runs, whatever made them."""

METRICS = ("accuracy", "log_loss", "macro_f1", "roc_auc")  # kcomp.metrics.scores.NAMES, without what it imports
METHODS = ("mean", "vote", "gmean", "rank", "search", "greedy", "stack")
