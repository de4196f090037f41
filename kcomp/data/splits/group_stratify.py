"""Assign groups to folds so that every fold has its share of the rows and of each label."""

import numpy as np

from kcomp.data.splits.stratify import largest


def stratify_groups(counts: np.ndarray, sizes: np.ndarray, shares: np.ndarray, *, seed: int) -> np.ndarray:
    """Assign whole groups to folds so that every fold has about its share of the rows and of each label.

    Large groups go first. Each group goes to the fold where it reduces the squared distance from the shares most,
    summed over the labels and over all rows, each divided by its total. This is the greedy method of scikit-learn's
    StratifiedGroupKFold, extended to several labels and to folds of any size.

    Args:
        counts: Rows of each label in each group, of shape (groups, labels); a row may have several labels or none.
        sizes: Rows in each group, of shape (groups,).
        shares: The share of rows of each fold, of shape (folds,); they sum to 1.
        seed: Seed of the order of groups of similar size, and of ties.

    Returns:
        The fold of each group, of shape (groups,). Without labels, a fold exceeds its share by less than the largest
        group.
    """
    random = np.random.default_rng(seed)
    counts = np.column_stack([counts[:, counts.sum(0) > 0], sizes]).astype(np.float64)
    parts = counts / counts.sum(0)
    weights = (parts**2).sum(1) * random.uniform(0.5, 1, len(parts))  # two seeds seldom agree on the order
    missing = np.repeat(shares[:, None], parts.shape[1], axis=1)
    folds = np.empty(len(sizes), int)
    for group in np.argsort(-weights, kind="stable"):
        folds[group] = largest(random, missing @ parts[group])
        missing[folds[group]] -= parts[group]
    return folds
