"""Assign rows to folds by the method that fits the rows."""

from typing import Any

import numpy as np

from kcomp.data.splits.group_stratify import stratify_groups
from kcomp.data.splits.rows import one_hot
from kcomp.data.splits.stratify import stratify


def assign(
    strata: np.ndarray, groups: np.ndarray | None, shares: np.ndarray, *, splitter: Any, seed: int
) -> np.ndarray:
    """Assign each row to a fold so that every fold gets its share of the rows and of each stratum.

    Args:
        strata: The stratum number of each row, shape (rows,). A stratum is a class, a grade or a range of numbers. For
            multi-label data: whether each row has each label, bool of shape (rows, labels).
        groups: The group of each row, shape (rows,). A group gets a single fold. None for rows without groups.
        shares: The share of the rows that each fold gets, shape (folds,).
        splitter: The scikit-learn splitter for rows without groups, with one stratum each, and without rare strata.
        seed: Seed of the other methods: by whole groups, or by iterative stratification.

    Returns:
        The fold of each row, from 0, int of shape (rows,).
    """
    labels = one_hot(strata)
    if groups is not None:
        _, groups = np.unique(groups, return_inverse=True)
        counts = np.zeros((groups.max(initial=-1) + 1, labels.shape[1]), np.int64)
        np.add.at(counts, groups, labels)
        return stratify_groups(counts, np.bincount(groups), shares, seed=seed)[groups]
    sizes = labels.sum(0)
    if strata.ndim == 2 or (sizes[sizes > 0] < len(shares)).any():  # scikit-learn rejects small strata
        return stratify(labels, shares, seed=seed)
    folds = np.full(len(strata), len(shares) - 1)
    for number, (_, held_out) in enumerate(splitter.split(strata, strata)):
        folds[held_out] = number
    return folds
