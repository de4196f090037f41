"""Choose the method that assigns rows to folds: scikit-learn's, iterative stratification, or whole groups."""

from typing import Any

import numpy as np

from kcomp.data.splits.group_stratify import stratify_groups
from kcomp.data.splits.rows import one_hot
from kcomp.data.splits.stratify import stratify


def assign(
    strata: np.ndarray, groups: np.ndarray | None, shares: np.ndarray, *, splitter: Any, seed: int
) -> np.ndarray:
    """Assign each row to a fold. Return the folds as positions in `shares`, of shape (rows,).

    Args:
        strata: The class or stratum of each row, of shape (rows,), or its labels, bool of shape (rows, labels).
        groups: The group of each row, of shape (rows,). None for rows without groups.
        shares: The share of rows of each fold, of shape (folds,).
        splitter: The scikit-learn splitter for rows without groups and with one stratum each.
        seed: Seed of the other methods.
    """
    labels = one_hot(strata)
    if groups is not None:
        _, groups = np.unique(groups, return_inverse=True)
        counts = np.zeros((groups.max(initial=-1) + 1, labels.shape[1]), np.int64)
        np.add.at(counts, groups, labels)
        return stratify_groups(counts, np.bincount(groups), shares, seed=seed)[groups]
    sizes = labels.sum(0)
    if strata.ndim == 2 or (sizes[sizes > 0] < len(shares)).any():  # scikit-learn refuses strata smaller than that
        return stratify(labels, shares, seed=seed)
    folds = np.full(len(strata), len(shares) - 1)
    for number, (_, held_out) in enumerate(splitter.split(strata, strata)):
        folds[held_out] = number
    return folds
