"""Predict labels out of fold by kernel ridge regression on features of a frozen network."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kcomp.data.tables import Table
from kcomp.probe.folds import probe_folds

LANDMARKS = 1000
BLOCK = 512  # rows whose kernel is in memory at once
RIDGES = (0.1, 0.3, 1.0, 3.0)
WIDTH = 0.5  # the kernel is exp(-WIDTH * d), where d is a squared distance divided by the median of all
SMALLEST = 1e-6  # eigenvalues of the landmarks' kernel that are smaller, relative to the largest, are rounding


@dataclass(frozen=True)
class KernelMap:
    """A map to features whose inner products approximate a Gaussian kernel (Nyström method, Williams and Seeger 2001).

    Attributes:
        landmarks: Some rows of the original features, float32 (landmarks, dimensions).
        gamma: The kernel of two rows at distance d is exp(-gamma * d * d).
        whitening: The new features are the kernels with the landmarks, times this matrix (landmarks, new dimensions).
    """

    landmarks: np.ndarray
    gamma: float
    whitening: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return np.exp(-self.gamma * squared_distances(features, self.landmarks)) @ self.whitening


def squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    products = first @ second.T
    return np.maximum(np.square(first).sum(1)[:, None] - 2 * products + np.square(second).sum(1), 0)


def fit_kernel(features: np.ndarray, seed: int) -> KernelMap:
    """Return a kernel map with random landmarks. `gamma` is inversely proportional to their median squared distance."""
    chosen = np.random.default_rng(seed).permutation(len(features))[:LANDMARKS]
    landmarks = features[chosen]
    distances = squared_distances(landmarks[:300], landmarks[-300:])
    median = float(np.median(distances[distances > 0])) if (distances > 0).any() else 1.0
    gamma = WIDTH / median
    values, vectors = np.linalg.eigh(np.exp(-gamma * squared_distances(landmarks, landmarks).astype(np.float64)))
    large = values > SMALLEST * values.max()
    return KernelMap(landmarks, gamma, (vectors[:, large] / np.sqrt(values[large])).astype(np.float32))


def kernel_scores(
    features: np.ndarray, labels: np.ndarray, table: Table, seed: int = 0, *, together: np.ndarray | None = None
) -> np.ndarray:
    """Predict the labels of each row by a kernel ridge regression on the other folds.

    Predictions of classes are scores, not probabilities. The ridge penalty is the one with the least squared error on
    held-out rows.

    Args:
        features: Features of the images, (rows, dimensions). A row with a NaN is neither used nor predicted.
        labels: What to predict, (rows, columns). Missing labels, which are NaN, count as the mean of their column.
        table: The labelled rows, for the folds.
        seed: Seed of the folds and the landmarks.
        together: A group number for each row, (rows,), or None. Rows of a group share a fold.

    Returns:
        Scores, float64 (rows, columns). Rows that were not predicted are NaN.
    """
    scores = np.full(labels.shape, np.nan)
    usable = np.isfinite(features).all(1)
    if usable.sum() < 2:
        return scores
    known = np.isfinite(labels[usable])
    values = np.where(known, labels[usable], 0)
    counts = np.maximum(known.sum(0), 1)
    centre = values.sum(0) / counts
    residuals = np.where(known, values - centre, 0)
    scale = np.sqrt(np.square(residuals).sum(0) / counts)
    scale[scale == 0] = 1
    folds = probe_folds(table.rows(usable), seed, together=None if together is None else together[usable])
    inputs = features[usable].astype(np.float32)
    scores[usable] = centre + scale * held_out_scores(fit_kernel(inputs, seed), inputs, residuals / scale, folds)
    return scores


def held_out_scores(kernel: KernelMap, features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    count, columns = kernel.whitening.shape[1], labels.shape[1]
    numbers = np.unique(folds)
    grams = {number: np.zeros((count, count)) for number in numbers}
    sums = {number: np.zeros((count, columns)) for number in numbers}
    for number, rows in blocks(folds):
        values = kernel(features[rows])
        grams[number] += values.T @ values
        sums[number] += values.T @ labels[rows]
    gram, total = sum(grams.values()), sum(sums.values())
    weights = {number: ridge_path(gram - grams[number], total - sums[number]) for number in numbers}
    scores = np.zeros((len(RIDGES), *labels.shape))
    for number, rows in blocks(folds):
        values = kernel(features[rows])
        for index, solution in enumerate(weights[number]):
            scores[index, rows] = values @ solution
    return scores[int(np.square(scores - labels).mean((1, 2)).argmin())]


def blocks(folds: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield pairs of a fold number and the positions of at most BLOCK of its rows. Each row is in one pair."""
    for number in np.unique(folds):
        rows = np.flatnonzero(folds == number)
        for start in range(0, len(rows), BLOCK):
            yield number, rows[start : start + BLOCK]


def ridge_path(gram: np.ndarray, total: np.ndarray) -> list[np.ndarray]:
    """Return the weights, (dimensions, columns), of a ridge regression with each of the penalties `RIDGES`.

    Args:
        gram: Products of the features, (dimensions, dimensions).
        total: Products of features and labels, (dimensions, columns).
    """
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ total
    return [vectors @ (rotated / (np.maximum(values, 0) + ridge)[:, None]) for ridge in RIDGES]
