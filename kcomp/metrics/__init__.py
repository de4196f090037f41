"""Score predictions: metrics, thresholds fitted to a metric, confidence intervals and significance tests."""

from kcomp.metrics.classification import (
    accuracy,
    balanced_accuracy,
    f_beta,
    log_loss,
    macro_f1,
    matthews,
    micro_f1,
    quadratic_kappa,
    samples_f1,
    weighted_f1,
)
from kcomp.metrics.metric import Metric
from kcomp.metrics.names import NAMES, get
from kcomp.metrics.ranking import average_precision, map_at_k, roc_auc, top_k
from kcomp.metrics.regression import mae, pearson, r2, rmse, spearman

__all__ = [
    "NAMES",
    "Metric",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "f_beta",
    "get",
    "log_loss",
    "macro_f1",
    "mae",
    "map_at_k",
    "matthews",
    "micro_f1",
    "pearson",
    "quadratic_kappa",
    "r2",
    "rmse",
    "roc_auc",
    "samples_f1",
    "spearman",
    "top_k",
    "weighted_f1",
]
