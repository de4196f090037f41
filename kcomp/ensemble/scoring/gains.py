"""The gain of an ensemble over another model on the same rows, with an interval. Above 0 is better for every score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.ensemble.methods.objectives import score
from kcomp.metrics import scores
from kcomp.metrics.significance import LEVEL, Interval, paired_interval, row_values

RESAMPLES = 1000  # bootstrap resamples for scores that are no mean over rows
LARGE = 500_000  # rows times classes from which on a fifth of the resamples is drawn


@dataclass(frozen=True)
class Gain:
    """The gain in each score, by name, and the number of rows that only one of the two models classifies right.

    `rows_won` are right in the ensemble alone, `rows_lost` in the other model alone.
    """

    intervals: dict[str, Interval]
    rows_won: int
    rows_lost: int


def compute_gain(metric: str, labels: np.ndarray, ensemble: np.ndarray, other: np.ndarray) -> Gain:
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
    difference = own["accuracy"] - others["accuracy"]
    return Gain(intervals, rows_won=int((difference > 0).sum()), rows_lost=int((difference < 0).sum()))


def resampled_interval(metric: str, labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Interval:
    """Return the difference first - second of a score that is no mean over rows, with a paired bootstrap over rows.

    A resample that lacks a class, so that the score is undefined, is left out.
    """
    draws, differences = np.random.default_rng(0), []
    for _ in range(RESAMPLES if labels.size < LARGE else RESAMPLES // 5):
        rows = draws.integers(0, len(labels), len(labels))
        differences.append(score(metric, labels[rows], first[rows]) - score(metric, labels[rows], second[rows]))
    low, high = np.nanquantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    difference = score(metric, labels, first) - score(metric, labels, second)
    return Interval(difference, float(low), float(high), len(labels))


def find_best(metric: str, members: Sequence[Mapping[str, float]]) -> int:
    """Return the position of the best score; of equal ones that with the lowest log loss, then the first."""
    best = 0
    for number, values in enumerate(members):
        name = "log_loss" if values[metric] == members[best][metric] else metric
        if scores.better(name, values[name], members[best][name]):
            best = number
    return best
