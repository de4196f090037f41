"""Compare an ensemble with another model on the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.metrics import Metric, accuracy
from kcomp.metrics.scores import Scorer
from kcomp.metrics.significance import Interval, mcnemar, paired_metric

SHOWN = 2  # how many metrics of the target are shown besides the optimized metric


@dataclass(frozen=True)
class Gain:
    """How much better an ensemble is than another model.

    Attributes:
        intervals: The gain in each metric with its confidence interval, by metric name.
        rows_won: How many rows the ensemble predicts right and the other model wrong. None for targets without classes.
        rows_lost: How many rows the other model predicts right and the ensemble wrong. None for targets without
            classes.
    """

    intervals: dict[str, Interval]
    rows_won: int | None
    rows_lost: int | None


def compute_gain(scorer: Scorer, labels: np.ndarray, ensemble: np.ndarray, other: np.ndarray) -> Gain:
    """Return the gain of an ensemble over another model, in the scorer's metric and two more metrics.

    All arrays have the shape (rows, columns).
    """
    target, intervals = scorer.target, {}
    for metric in scorer.first(SHOWN):
        interval = paired_metric(metric, labels, ensemble, other, target=target)
        intervals[metric.name] = interval if metric.higher_is_better else interval.negative()
    if accuracy.name not in target.shown_metrics:
        return Gain(intervals, None, None)
    own, others = (accuracy.row_values(labels, each, target) > 0.5 for each in (ensemble, other))
    won, lost, _ = mcnemar(own, others)
    return Gain(intervals, won, lost)


def find_best(metrics: Sequence[Metric], members: Sequence[Mapping[str, float]]) -> int:
    """Return the position of the best member by the first metric. Later metrics break ties."""
    best = 0
    for number, values in enumerate(members):
        pairs = [(metric, values[metric.name], members[best][metric.name]) for metric in metrics]
        differing = [pair for pair in pairs if not np.array_equal(pair[1], pair[2], equal_nan=True)]
        if differing:
            metric, new, old = differing[0]
            best = number if metric.is_better(new, old) else best
    return best
