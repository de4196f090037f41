"""What an ensemble gains over its best member, with an interval: positive is better, whatever the score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.ensemble.objectives import score
from kcomp.metrics import scores
from kcomp.metrics.significance import LEVEL, Interval, mcnemar, paired_interval, row_values

RESAMPLES = 1000  # for scores that are no mean over rows
LARGE = 500_000  # numbers in a table, from which on a fifth of the resamples must do


@dataclass(frozen=True)
class Gain:
    """The gain in each score over another model on the same rows, and McNemar's test of which rows are right.

    `rows_won` and `rows_lost` are the rows that only the ensemble, and only the other, has right.
    """

    intervals: dict[str, Interval]
    rows_won: int
    rows_lost: int
    p: float


def gain(metric: str, labels: np.ndarray, ensemble: np.ndarray, other: np.ndarray) -> Gain:
    """Compare probabilities (rows, classes) in `metric`, accuracy and log loss."""
    own, others = row_values(labels, ensemble), row_values(labels, other)
    intervals = {}
    for name in dict.fromkeys((metric, "accuracy", "log_loss")):
        if name == "log_loss":
            intervals[name] = paired_interval(others[name], own[name])
        elif name == "accuracy":
            intervals[name] = paired_interval(own[name], others[name])
        else:
            intervals[name] = resampled_interval(name, labels, ensemble, other)
    return Gain(intervals, *mcnemar(own["accuracy"], others["accuracy"]))


def resampled_interval(metric: str, labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Interval:
    """The difference first - second of a score that is no mean over rows, with a paired percentile bootstrap over rows.

    A resample in which the score is not defined, for want of a class, is left out.
    """
    draws, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES if labels.size < LARGE else RESAMPLES // 5):
        rows = draws.integers(0, len(labels), len(labels))
        found.append(score(metric, labels[rows], first[rows]) - score(metric, labels[rows], second[rows]))
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    difference = score(metric, labels, first) - score(metric, labels, second)
    return Interval(difference, float(low), float(high), len(labels))


def best_of(metric: str, found: Sequence[Mapping[str, float]]) -> int:
    """The place of the best score `metric`; of equals the one with the lowest log loss, then the first."""
    best = 0
    for number, values in enumerate(found):
        name = "log_loss" if values[metric] == found[best][metric] else metric
        if scores.better(name, values[name], found[best][name]):
            best = number
    return best
