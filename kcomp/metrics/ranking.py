"""Metrics that depend on an order: of the rows (ROC AUC, average precision) or of the classes (top-k, MAP@k)."""

from functools import partial

import numpy as np

from kcomp.metrics.classification import with_both
from kcomp.metrics.metric import Metric, column_mean, from_rows


def column_auc(true: np.ndarray, predicted: np.ndarray) -> float:
    # faster than scikit-learn's function, which checks its inputs at each call
    ordered, positive = np.sort(predicted), predicted[true == 1]
    ranks = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right") + 1
    pairs = len(positive) * (len(predicted) - len(positive))
    return float((ranks.sum() / 2 - len(positive) * (len(positive) + 1) / 2) / pairs)


def column_precision(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the average precision of one column. Return NaN if no label is positive."""
    from sklearn import metrics  # imported here because the import takes about 2 s

    return float(metrics.average_precision_score(true, predicted)) if true.any() else float("nan")


def highest_hits(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    """Return the labels (0 or 1) of the k highest predictions of each row, the highest first, (rows, k).

    Classes with a missing label come last.
    """
    ranked = np.where(np.isnan(labels), -np.inf, predictions)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(np.nan_to_num(labels), order, axis=1)


def top_k_rows(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    """Return 1 for each row that has a true class among its k highest predictions, else 0. Shape (rows,).

    A row without a true class is NaN.
    """
    return np.where(np.nansum(labels, 1) > 0, highest_hits(labels, predictions, k).any(1), np.nan)


def average_precision_rows(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    """Return the average precision at k of each row, shape (rows,). A row without a true class is NaN."""
    hits = highest_hits(labels, predictions, k)
    precisions = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    count = np.nansum(labels, 1)
    return np.where(count > 0, (precisions * hits).sum(1) / np.clip(count, 1, k), np.nan)


def top_k(k: int) -> Metric:
    """Return the top-k accuracy: the share of rows with a true class among the k highest predictions.

    Rows without a true class are skipped.

    Args:
        k: How many of the highest predictions count, at least 1.

    Raises:
        ValueError: If `k` is not a positive integer.

    Examples:
        >>> from kcomp import metrics
        >>> metrics.top_k(5).name
        'top_5'
    """
    return from_rows(f"top_{k}", partial(top_k_rows, k=check_k(k)), higher_is_better=True, on="columns")


def map_at_k(k: int) -> Metric:
    """Return the metric "mean average precision at k", as Kaggle defines it. Rows without a true class are skipped.

    The value of a row is the sum of precision(i) over the ranks i <= k of true classes, divided by min(k, number of
    true classes).

    Args:
        k: How many of the highest predictions count, at least 1.

    Raises:
        ValueError: If `k` is not a positive integer.

    References:
        https://github.com/benhamner/Metrics, average_precision.py

    Examples:
        >>> from kcomp import metrics
        >>> metrics.map_at_k(5).name
        'map@5'
    """
    return from_rows(f"map@{k}", partial(average_precision_rows, k=check_k(k)), higher_is_better=True, on="columns")


def check_k(k: int) -> int:
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be an integer from 1; received {k!r}")
    return k


roc_auc = Metric("roc_auc", partial(column_mean, partial(with_both, column_auc)), True, "columns")
"""Area under the ROC curve, averaged over columns. Columns without a positive or a negative label are skipped."""

average_precision = Metric("average_precision", partial(column_mean, column_precision), True, "columns")
"""Average precision, averaged over columns. Columns without a positive label are skipped."""
