"""Join the predictions of runs, and score the result."""

METRICS = ("accuracy", "log_loss", "macro_f1", "roc_auc")  # equals kcomp.metrics.scores.NAMES, without its imports
METHODS = ("mean", "vote", "gmean", "rank", "search", "greedy", "stack")  # equals methods.fitting.METHODS
