"""Describe how the smoothing of confident predictions changes the order of the rows."""

import numpy as np

from kcomp.metrics import Metric


def count_reordered(before: np.ndarray, after: np.ndarray) -> int:
    """Return the number of columns in which the order of the rows differs. Both arrays are (rows, columns)."""
    from scipy import stats

    moved = np.abs(stats.rankdata(before, axis=0) - stats.rankdata(after, axis=0))
    return int((moved >= 1).any(0).sum())


def describe_smoothing(before: np.ndarray, after: np.ndarray, metric: Metric | None) -> str:
    """Return a sentence that says how many rows were smoothed.

    It ends with a warning if the order of rows changes and the metric depends on this order, as ROC AUC does.

    Args:
        before: Predictions before smoothing, (rows, columns).
        after: Predictions after smoothing, in the same shape.
        metric: The metric of the runs. None if it is unknown. It is then treated as one that depends on the order.
    """
    changed = int((before != after).any(1).sum())
    text = f"smoothing changes {changed} of {len(before)} rows"
    columns = count_reordered(before, after)
    is_ranking = metric is None or metric.on == "columns"
    if not columns or not is_ranking:
        return text
    name = "a metric of order, such as roc_auc," if metric is None else metric.name
    return (
        f"{text}. Warning: it changes the order of the rows in {columns} of {before.shape[1]} columns, because only "
        f"confident rows are smoothed, so {name} can change"
    )
