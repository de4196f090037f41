"""Test whether two models score differently on the same rows by more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from kcomp.metrics.metric import Decides, Metric

# Metrics that are means over rows have MAX_DRAWS / rows resamples, within the two limits.
MAX_DRAWS = 2 * 10**7
MIN_RESAMPLES = 2_000
MAX_RESAMPLES = 10_000
METRIC_RESAMPLES = 1_000  # for other metrics
LARGE = 500_000  # if there are at least this many labels, METRIC_RESAMPLES is divided by 5
LEVEL = 0.95  # of the confidence intervals


@dataclass(frozen=True)
class Interval:
    """A mean difference between two models, or a score, with its 95 % confidence interval.

    Attributes:
        mean: The mean difference, or the score.
        low: The lower end of the interval.
        high: The upper end of the interval.
        rows: The number of rows.
    """

    mean: float
    low: float
    high: float
    rows: int

    def negative(self) -> "Interval":
        """Return the interval with the opposite sign: that of second - first instead of first - second."""
        return Interval(-self.mean, -self.high, -self.low, self.rows)

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_metric(
    metric: Metric, labels: np.ndarray, first: np.ndarray, second: np.ndarray, *, target: Decides | None, seed: int = 0
) -> Interval:
    """Return metric(first) - metric(second) with its confidence interval, by a percentile bootstrap over rows.

    Args:
        metric: Any metric.
        labels: Shape (rows, columns).
        first: Predictions of the first model, (rows, columns). Or predictions of several models, (models, rows,
            columns), whose scores are averaged.
        second: Predictions of the second model (or models) on the same rows.
        target: The target of the labels.
        seed: Seed of the resampling.

    Returns:
        The difference and its 95 % confidence interval.

    References:
        Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.
    """
    sides = [predictions[None] if predictions.ndim == 2 else predictions for predictions in (first, second)]
    if metric.rows is not None:
        values = np.stack([np.mean([metric.row_values(labels, each, target) for each in side], 0) for side in sides])
        known = ~np.isnan(values).any(0)
        return paired_interval(values[0][known], values[1][known], seed=seed)

    def difference(rows: Any) -> float:
        means = [np.mean([metric(labels[rows], each[rows], target) for each in side]) for side in sides]
        return float(means[0] - means[1])

    random, count = np.random.default_rng(seed), len(labels)
    resamples = METRIC_RESAMPLES if labels.size < LARGE else METRIC_RESAMPLES // 5
    differences = np.array([difference(random.integers(0, count, count)) for _ in range(resamples)])
    defined = differences[~np.isnan(differences)]
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(defined) else (np.nan, np.nan)
    return Interval(difference(slice(None)), float(low), float(high), count)


def paired_interval(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> Interval:
    """Return the mean of first - second with its confidence interval, by a percentile bootstrap over rows.

    The interval covers the random choice of rows, but not the seed of the training.

    Args:
        first: A value of the first model for each row, such as its error, shape (rows,).
        second: The values of the second model on the same rows, shape (rows,).
        seed: Seed of the resampling.

    Returns:
        The mean difference and its 95 % confidence interval.

    Raises:
        ValueError: If the shapes differ or there is no row.

    References:
        Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.
    """
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(
            "paired values must be two arrays of one shape (rows,) with at least one row; "
            f"received {first.shape} and {second.shape}"
        )
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    means = resampled_means(differences, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(differences.mean()), float(low), float(high), len(differences))


def resampled_means(differences: np.ndarray, random: np.random.Generator) -> np.ndarray:
    rows = len(differences)
    values, counts = np.unique(differences, return_counts=True)
    if len(values) <= 8:  # as for accuracies (-1, 0, 1): draw how often each value occurs, which is faster
        return random.multinomial(rows, counts / rows, MAX_RESAMPLES) @ values / rows
    resamples = min(max(MAX_DRAWS // rows, MIN_RESAMPLES), MAX_RESAMPLES)
    chunk = max(1, 2**22 // rows)  # resamples at a time, which limits memory to 32 MiB
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    return np.concatenate([random.choice(differences, (size, rows)).mean(1) for size in sizes])


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Run McNemar's exact test of whether two models are correct equally often.

    Args:
        first: Whether the first model is correct, shape (rows,).
        second: Whether the second model is correct, shape (rows,).

    Returns:
        Three numbers: how many rows only the first model classifies correctly, how many rows only the second does, and
        the two-sided binomial p-value. The p-value is 1 if both numbers are 0.

    References:
        McNemar 1947; Dietterich 1998.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    tail = special.bdtr(min(only_first, only_second), only_first + only_second, 0.5)
    return only_first, only_second, min(1.0, 2 * float(tail))


def metric_interval(metric: Metric, true: np.ndarray, scored: np.ndarray, *, seed: int = 0) -> Interval:
    """Return a metric of one model with its 95 % interval over rows.

    A metric that is a share of rows, such as the accuracy, has Wilson's interval. Other metrics have the interval of a
    percentile bootstrap. The interval covers the random choice of rows, but not the seed of the training.

    Args:
        metric: Any metric.
        true: Labels in the form that `metric.inputs` returns.
        scored: Predictions or predicted classes in this form.
        seed: Seed of the resampling.

    Returns:
        The metric and its 95 % confidence interval.

    References:
        Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.
    """
    random, count = np.random.default_rng(seed), len(true)
    if metric.rows is not None:
        values = np.asarray(metric.rows(true, scored), np.float64)
        values = values[~np.isnan(values)]
        if not len(values):
            return Interval(np.nan, np.nan, np.nan, 0)
        if set(np.unique(values)) <= {0.0, 1.0}:
            return wilson_interval(int(values.sum()), len(values))
        if len(values) < 2:
            return Interval(float(values[0]), np.nan, np.nan, 1)
        low, high = np.quantile(resampled_means(values, random), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(float(values.mean()), float(low), float(high), len(values))
    if count < 2:
        return Interval(float(metric.function(true, scored)), np.nan, np.nan, count)
    resamples = METRIC_RESAMPLES if true.size < LARGE else METRIC_RESAMPLES // 5
    draws = (random.integers(0, count, count) for _ in range(resamples))
    scores = np.array([float(metric.function(true[rows], scored[rows])) for rows in draws])
    defined = scores[~np.isnan(scores)]
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(defined) else (np.nan, np.nan)
    return Interval(float(metric.function(true, scored)), float(low), float(high), count)


def wilson_interval(hits: int, rows: int) -> Interval:
    """Return the share hits / rows with its 95 % confidence interval. All three numbers are NaN if `rows` is 0.

    References:
        Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if not rows:
        return Interval(np.nan, np.nan, np.nan, 0)
    from scipy import stats  # imported here, because it takes long

    ends = stats.binomtest(hits, rows).proportion_ci(LEVEL, method="wilson")
    return Interval(hits / rows, float(ends.low), float(ends.high), rows)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values that are corrected for multiple testing by the method of Holm (1979)."""
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values)
    corrected = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    result = np.empty(len(values))
    result[order] = np.minimum(corrected, 1.0)
    return result
