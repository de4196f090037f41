"""Divide rows into parts for cross-validation."""

import numpy as np

from kcomp.data.splits.stratify import stratify


def stratified_parts(strata: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Divide rows into `count` parts of equal size, and return the number of each row's part, (rows,), from 0.

    Each part has the same share of every stratum, such as a class. The rows of a stratum with fewer than `count` rows
    go to different parts.

    Args:
        strata: The stratum of each row, (rows,). For multi-label data, bool (rows, labels). See `Target.strata`.
        count: How many parts. If there are fewer rows, each row is a part.
        seed: Seed of the random division.
    """
    count = min(count, len(strata))
    if strata.ndim == 2:
        return stratify(strata, np.full(count, 1 / count), seed=seed)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(strata)), strata))
    numbers = np.empty(len(strata), np.int64)
    numbers[order] = np.arange(len(strata)) % count
    return numbers
