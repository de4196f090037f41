"""Metrics of the order of rows (ROC AUC, average precision) and of classes (top-k, mean average precision at k)."""

from functools import partial

import numpy as np

from kcomp.metrics.classification import with_both
from kcomp.metrics.metric import Metric, column_mean, from_rows


def column_auc(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the ROC AUC of one column, computed from ranks (Mann and Whitney 1947).

    It is faster than scikit-learn's function, which checks its inputs at each call.
    """
    ordered, positive = np.sort(predicted), predicted[true == 1]
    ranks = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right") + 1
    pairs = len(positive) * (len(predicted) - len(positive))
    return float((ranks.sum() / 2 - len(positive) * (len(positive) + 1) / 2) / pairs)


def column_precision(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the average precision of one column. NaN without a positive label."""
    from sklearn import metrics  # imported here because the import takes about 2 s

    return float(metrics.average_precision_score(true, predicted)) if true.any() else float("nan")


def highest_hits(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    """Return the labels, 0 or 1, of each row's k highest predictions, highest first. Missing labels rank last."""
    ranked = np.where(np.isnan(labels), -np.inf, predictions)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(np.nan_to_num(labels), order, axis=1)


def top_k_rows(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    """Return 1 for each row with a label among its k highest predictions, else 0. NaN for a row without a label."""
    return np.where(np.nansum(labels, 1) > 0, highest_hits(labels, predictions, k).any(1), np.nan)


def average_precision_rows(labels: np.ndarray, predictions: np.ndarray, k: int) -> np.ndarray:
    """Return the average precision at k of each row. NaN for a row without a label."""
    hits = highest_hits(labels, predictions, k)
    precisions = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    count = np.nansum(labels, 1)
    return np.where(count > 0, (precisions * hits).sum(1) / np.clip(count, 1, k), np.nan)


def top_k(k: int) -> Metric:
    """Return the metric "share of rows with a label among the k highest predictions". Rows without a label are skipped.

    Args:
        k: Number of predictions that count, from 1.

    Raises:
        ValueError: If `k` is not an integer from 1.

    Examples:
        >>> from kcomp import metrics
        >>> metrics.top_k(5).name
        'top_5'
    """
    return from_rows(f"top_{k}", partial(top_k_rows, k=check_k(k)), higher_is_better=True, on="columns")


def map_at_k(k: int) -> Metric:
    """Return the metric "mean average precision at k", as Kaggle defines it. Rows without a label are skipped.

    The value of a row is the sum of precision at i over all ranks i <= k at which there is a label. It is divided by k
    or by the number of the row's labels, whichever is smaller. For one class in each row, it is 1 / rank.

    Args:
        k: Number of predictions that count, from 1.

    Raises:
        ValueError: If `k` is not an integer from 1.

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
"""Mean over columns of the area under the ROC curve. Columns without a positive or a negative label are skipped."""

average_precision = Metric("average_precision", partial(column_mean, column_precision), True, "columns")
"""Mean over columns of the average precision. Columns without a positive label are skipped."""
