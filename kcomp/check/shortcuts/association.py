"""Measure how well one property of images predicts their labels, compared with chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

MOST_BINS = 32
ROWS_PER_BIN = 10  # on average
PRIOR_ROWS = 5.0  # how many rows with the mean label are added to each bin
PERMUTATIONS = 200


@dataclass(frozen=True)
class Association:
    """How well one property predicts each column of the labels.

    Attributes:
        scores: The score of each column, (columns,). For classes: the area under the ROC curve of one class against the
            rest. For numbers: the correlation with the ranks of the numbers. NaN if it is undefined.
        chance: The scores with permuted labels, (permutations, columns).
        p_values: For each column, the probability that chance gives at least this score, (columns,).
    """

    scores: np.ndarray
    chance: np.ndarray
    p_values: np.ndarray

    @property
    def score(self) -> float:
        """The mean score over the columns; NaN if all are undefined."""
        known = self.scores[~np.isnan(self.scores)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def chance_interval(self) -> tuple[float, float]:
        """The interval of 95 % of the mean scores with permuted labels."""
        with np.errstate(invalid="ignore"):
            means = np.nanmean(self.chance[:, ~np.isnan(self.scores)], 1) if (~np.isnan(self.scores)).any() else []
        if not len(means):
            return float("nan"), float("nan")
        low, high = np.quantile(means, [0.025, 0.975])
        return float(low), float(high)

    @property
    def p_value(self) -> float:
        """The p-value of all columns together: the smallest of the columns, times their number (Bonferroni)."""
        known = self.p_values[~np.isnan(self.p_values)]
        return float(min(1.0, known.min() * len(known))) if len(known) else 1.0


def associate(
    properties: Sequence[np.ndarray],
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    is_class: bool,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[Association]:
    """Return how well each property alone predicts the labels, by cross-validation and a permutation test.

    The prediction for a row is a mean label: that of rows in other folds with a similar value of the property (target
    encoding, Micci-Barreca 2001). docs/internals/check-statistics.md describes the score and its p-value.

    Args:
        properties: The values of each property, (rows,). NaN is a missing value.
        labels: Labels, (rows, columns): 0 or 1 for classes. NaN is a missing label.
        folds: The fold of each row, (rows,).
        is_class: Whether the labels are classes.
        permutations: How often the labels are permuted.
        seed: Seed of the permutations.
    """
    numbers = np.unique(folds, return_inverse=True)[1]
    binned = BinnedRows.of(properties, numbers)
    values = labels if is_class else ranks(labels)
    random = np.random.default_rng([seed, 4])
    observed = binned.scores(values, is_class=is_class)
    chance = np.stack(
        [binned.scores(values[permuted_within(numbers, random)], is_class=is_class) for _ in range(permutations)]
    )
    return [
        Association(observed[place], chance[:, place], tail_probability(observed[place], chance[:, place]))
        for place in range(len(properties))
    ]


@dataclass(frozen=True)
class BinnedRows:
    """Which rows have similar values of a property and are in the same fold, for several properties.

    Attributes:
        members: 1 where a row belongs to a cell, else 0, a sparse matrix (cells, rows). A cell is a bin (a range of
            values) of one property in one fold.
        folds: The number of folds.
        bins: The number of bins of each property.
    """

    members: Any
    folds: int
    bins: tuple[int, ...]

    @classmethod
    def of(cls, properties: Sequence[np.ndarray], folds: np.ndarray) -> Self:
        count, start = int(folds.max(initial=-1)) + 1, 0
        cells, sizes = [], []
        for values in properties:
            bins = bins_of(values)
            sizes.append(int(bins.max(initial=0)) + 1)
            cells.append(start + folds * sizes[-1] + bins)
            start += count * sizes[-1]
        rows = np.tile(np.arange(len(folds)), len(properties))
        members = sparse.csr_array((np.ones(len(rows)), (np.concatenate(cells), rows)), shape=(start, len(folds)))
        return cls(members, count, tuple(sizes))

    def scores(self, labels: np.ndarray, *, is_class: bool) -> np.ndarray:
        """Return the cross-validated score of each property for each column of the labels, (properties, columns)."""
        known = ~np.isnan(labels)
        filled = np.where(known, labels, 0.0)
        sums, totals = self.members @ filled, self.members @ known.astype(np.float64)
        squares = sums if is_class else self.members @ filled**2
        result, start = [], 0
        for size in self.bins:
            part, shape = slice(start, start + size * self.folds), (self.folds, size, labels.shape[1])
            start = part.stop
            blocks = [array[part].reshape(shape) for array in (sums, totals, squares)]
            result.append(areas(*blocks[:2]) if is_class else correlations(*blocks))
        return np.stack(result)


def bins_of(values: np.ndarray) -> np.ndarray:
    """Return the bin number of each value, int (rows,). Bins have about equally many rows.

    NaN has a bin of its own.
    """
    known = ~np.isnan(values)
    most = int(np.clip(known.sum() // ROWS_PER_BIN, 2, MOST_BINS))
    distinct = np.unique(values[known])
    if len(distinct) > most:
        distinct = np.unique(np.quantile(values[known], np.arange(most) / most, method="lower"))
    bins = np.searchsorted(distinct, values, side="right") - 1
    bins[~known] = len(distinct)
    return bins


def shrunk_means(sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return for each fold and bin the mean label in the other folds, shrunk towards the mean over all bins.

    All arrays have the shape (folds, bins, columns).

    Args:
        sums: The sum of the labels of each fold and bin.
        totals: The number of known labels of each fold and bin.
    """
    other_sums, other_totals = sums.sum(0) - sums, totals.sum(0) - totals
    means = other_sums.sum(1, keepdims=True) / np.maximum(other_totals.sum(1, keepdims=True), 1)
    result: np.ndarray = (other_sums + PRIOR_ROWS * means) / (other_totals + PRIOR_ROWS)
    return result


def areas(positives: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each column, (columns,). Only pairs of rows in the same fold are compared.

    Args:
        positives: The number of positive labels, (folds, bins, columns).
        totals: The number of known labels, (folds, bins, columns).
    """
    order = np.argsort(shrunk_means(positives, totals), axis=1, kind="stable")
    hits = np.take_along_axis(positives, order, 1)
    misses = np.take_along_axis(totals - positives, order, 1)
    pairs = (hits.sum(1) * misses.sum(1)).sum(0)
    right = (hits * (np.cumsum(misses, 1) - misses / 2)).sum((0, 1))
    result: np.ndarray = np.where(pairs > 0, right / np.maximum(pairs, 1), np.nan)
    return result


def correlations(sums: np.ndarray, totals: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return the correlation between predictions and labels within the folds, (columns,).

    All arguments have the shape (folds, bins, columns).

    Args:
        sums: Sums of the labels.
        totals: The number of known labels.
        squares: Sums of the squared labels.
    """
    predicted = shrunk_means(sums, totals)
    count = np.maximum(totals.sum(1), 1)
    mean = (predicted * totals).sum(1) / count
    covariance = ((predicted * sums).sum(1) - mean * sums.sum(1)).sum(0)
    spread = ((predicted**2 * totals).sum(1) - count * mean**2).sum(0)
    total = (squares.sum(1) - sums.sum(1) ** 2 / count).sum(0)
    scale = np.sqrt(np.maximum(spread, 0) * np.maximum(total, 0))
    defined = total > 1e-9
    return np.where(defined, np.where(scale > 1e-9, covariance / np.maximum(scale, 1e-9), 0.0), np.nan)


def ranks(labels: np.ndarray) -> np.ndarray:
    """Return the rank of each label in its column, scaled to -1..1. NaN stays NaN."""
    from scipy import stats

    ranked = stats.rankdata(labels, axis=0, nan_policy="omit")
    count = np.maximum((~np.isnan(labels)).sum(0), 1)
    result: np.ndarray = (2 * ranked - 1) / count - 1
    return result


def permuted_within(folds: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the row positions, int (rows,), with a random order within each fold."""
    order = np.argsort(folds, kind="stable")
    shuffled = np.lexsort((random.random(len(folds)), folds))
    result = np.empty(len(folds), int)
    result[order] = shuffled
    return result


def tail_probability(observed: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Return for each column the probability that chance gives at least the observed score, (columns,).

    `chance` has the scores with permuted labels, (permutations, columns). A Pearson type III distribution with the same
    mean, standard deviation and skewness gives the probability.
    """
    from scipy import stats

    mean, deviation = chance.mean(0), chance.std(0, ddof=1)
    defined = deviation > 1e-12
    skewness = np.clip(np.where(defined, stats.skew(np.where(defined, chance, 0.0), axis=0), 0.0), 0.0, 2.0)
    distance = (observed - mean) / np.where(defined, deviation, 1.0)
    p_values = stats.pearson3.sf(distance, skewness)
    result: np.ndarray = np.where(np.isnan(observed), np.nan, np.where(defined, p_values, 1.0))
    return result
