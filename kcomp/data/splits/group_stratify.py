"""Assign groups to folds so that every fold has its share of the rows and of each label."""

import numpy as np

from kcomp.data.splits.stratify import largest


def stratify_groups(counts: np.ndarray, sizes: np.ndarray, shares: np.ndarray, *, seed: int) -> np.ndarray:
    """Assign whole groups to folds so that every fold has about its share of the rows and of each label.

    Large groups are assigned first. Each group goes to the fold for which the sum of (share[f, k] - shares[f])**2 over
    all folds f and labels k is then smallest. share[f, k] is the share of the rows with label k that is in fold f.

    Args:
        counts: How many rows of each group have each label, shape (groups, labels). A row may have several labels or
            none.
        sizes: How many rows each group has, shape (groups,).
        shares: The wanted share of rows for each fold, shape (folds,). The shares sum to 1.
        seed: Seed of the order of groups of similar size, and of the choice between equally good folds.

    Returns:
        The fold of each group, shape (groups,).
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
