"""Metrics for predicted numbers: means over columns, without missing labels."""

from functools import partial

import numpy as np

from kcomp.metrics.metric import Metric, column_mean


def column_rmse(true: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.sqrt(np.square(true - predicted).mean()))


def column_mae(true: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.abs(true - predicted).mean())


def column_r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the coefficient of determination. Return NaN if the labels are constant."""
    total = np.square(true - true.mean()).sum()
    return float(1 - np.square(true - predicted).sum() / total) if total > 0 else float("nan")


def column_pearson(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation. Return NaN if the labels or the predictions are constant."""
    if np.ptp(true) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(np.corrcoef(true, predicted)[0, 1])


def column_spearman(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return Spearman's correlation of ranks. Equal values get their mean rank."""
    from scipy import stats

    return column_pearson(stats.rankdata(true), stats.rankdata(predicted))


rmse = Metric("rmse", partial(column_mean, column_rmse), False)
"""Root mean squared error, in the labels' units."""

mae = Metric("mae", partial(column_mean, column_mae), False)
"""Mean absolute error, in the labels' units."""

r2 = Metric("r2", partial(column_mean, column_r2), True)
"""Coefficient of determination. Columns with constant labels are skipped."""

pearson = Metric("pearson", partial(column_mean, column_pearson), True)
"""Pearson's correlation. Columns with constant labels or predictions are skipped."""

spearman = Metric("spearman", partial(column_mean, column_spearman), True)
"""Spearman's rank correlation. Columns with constant labels or predictions are skipped."""
