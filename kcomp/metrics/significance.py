"""Whether two models' predictions of the same rows differ by more than chance: an interval and a test. No Keras."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from kcomp.metrics import scores

RESAMPLES = 10_000, 2_000  # for few rows, for many
NUMBERS = 2 * 10**7  # drawn at most, where that is more than the smaller number of resamples
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean difference over `rows` rows, and the bounds between which the bootstrap puts it at level 0.95."""

    mean: float
    low: float
    high: float
    rows: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def row_values(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """For each row its `accuracy` (0 or 1) and its `log_loss` in nats: their means are kcomp.metrics.scores' scores.

    Both arguments have shape (rows, classes).
    """
    right = labels.argmax(1) == probabilities.argmax(1)
    return {"accuracy": right.astype(np.float64), "log_loss": scores.row_entropies(labels, probabilities)}


def paired_interval(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Interval:
    """The mean of first - second over rows (both of shape (rows,)), with a percentile bootstrap over rows.

    Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13. It covers the choice of rows, not the
    noise of training: two seeds of one model differ as well. ValueError where there is no row.
    """
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"paired values must be two equal rows of numbers; received {first.shape} and {second.shape}")
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    values, counts = np.unique(differences, return_counts=True)
    draws = np.random.default_rng(seed)
    if len(values) <= 8:  # accuracies differ by -1, 0 or 1: only how often each is drawn matters
        drawn = draws.multinomial(len(differences), counts / len(differences), max(RESAMPLES))
        means = drawn @ values / len(differences)
    else:
        size = max(1, 2**22 // len(differences))  # at most 32 MiB of numbers at once
        resamples = min(max(NUMBERS // len(differences), min(RESAMPLES)), max(RESAMPLES))
        parts = [min(size, resamples - start) for start in range(0, resamples, size)]
        means = np.concatenate([draws.choice(differences, (part, len(differences))).mean(1) for part in parts])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(differences.mean()), float(low), float(high), len(differences))


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test on two rows of "was right" (rows,): (only the first right, only the second, p).

    p is the two-sided binomial probability of a split at least as uneven under equal error rates (McNemar 1947;
    Dietterich 1998); 1 where they never differ.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    tail = special.bdtr(min(only_first, only_second), only_first + only_second, 0.5)
    return only_first, only_second, min(1.0, 2 * float(tail))
