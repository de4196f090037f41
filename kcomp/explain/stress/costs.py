"""Compute how much each row costs in the recipe's metric, and test whether a change of images raises the cost."""

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes, row_losses, true_classes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.metrics.classification import correct_rows
from kcomp.metrics.metric import Metric


def metric_of_stress(rows: HeldOutRows, outcomes: Outcomes) -> Metric:
    """Return the recipe's metric as a function of labels and predictions, with fitted thresholds, if any."""
    metric, target = rows.scorer.metric, rows.target
    decisions = outcomes.fitted.decisions if outcomes.fitted else None

    def function(labels: np.ndarray, predictions: np.ndarray) -> float:
        return metric(labels, predictions, target, decisions)

    def row_values(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        assert metric.rows is not None
        return np.asarray(metric.rows(*metric.inputs(labels, predictions, target, decisions)), np.float64)

    return Metric(metric.name, function, metric.higher_is_better, rows=row_values if metric.rows else None)


def row_harm(rows: HeldOutRows, outcomes: Outcomes, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    if outcomes.is_one_class:
        return 1 - correct_rows(true_classes(labels, rows.target), rows.target.decide(predictions).astype(np.float64))
    return row_losses(labels, predictions, rows.target)


def row_costs(
    metric: Metric, rows: HeldOutRows, outcomes: Outcomes, labels: np.ndarray, predictions: np.ndarray
) -> np.ndarray:
    """Return the cost of each row, (rows,): its value in the metric, with the sign at which a higher cost is worse.

    If the metric is not a mean over rows, the cost is the harm of the row; see `Outcomes.harm`.
    """
    if metric.rows is None:
        return row_harm(rows, outcomes, labels, predictions)
    values = metric.row_values(labels, predictions)
    return -values if metric.higher_is_better else values


def p_value_of_increase(low: np.ndarray, high: np.ndarray) -> float:
    """Return the one-sided p-value of whether the mean of `high` is above that of `low`. Both are (rows,).

    Differences of -1, 0 and 1 are tested with McNemar's exact test, and others with a paired t-test.
    """
    from scipy import stats

    known = ~np.isnan(low) & ~np.isnan(high)
    differences = (high - low)[known]
    if not differences.any():
        return 1.0
    if set(np.unique(differences)) <= {-1.0, 0.0, 1.0}:
        worse, changed = int((differences > 0).sum()), int((differences != 0).sum())
        return float(stats.binom.sf(worse - 1, changed, 0.5))
    if np.ptp(differences) == 0:
        return 0.0 if differences[0] > 0 else 1.0
    return float(stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue)
