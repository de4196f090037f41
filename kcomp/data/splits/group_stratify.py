"""Assign groups to folds so that every fold has its share of the rows and of each label."""

import numpy as np

from kcomp.data.splits.stratify import largest


def stratify_groups(counts: np.ndarray, sizes: np.ndarray, shares: np.ndarray, *, seed: int) -> np.ndarray:
    """Assign whole groups to folds so that every fold has about its share of the rows and of each label.

    Large groups are assigned first. Each group is assigned to the fold that then gives the smallest squared difference
    between the folds' shares and `shares`, summed over all labels and the number of rows. This is the greedy method of
    scikit-learn's StratifiedGroupKFold, extended to several labels and to folds of any size.

    Args:
        counts: Number of rows with each label in each group, (groups, labels). A row may have several labels or none.
        sizes: Rows in each group, of shape (groups,).
        shares: The share of rows that each fold gets, of shape (folds,). They sum to 1.
        seed: Seed of the order of groups of similar size, and of ties.

    Returns:
        The fold of each group, of shape (groups,). Without labels, no fold exceeds its share by the size of the largest
        group or more.
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
