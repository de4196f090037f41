"""Iterative stratification: assign rows with several labels to folds."""

import numpy as np

TIE = 1e-9  # numbers that differ by less count as equal


def stratify(labels: np.ndarray, shares: np.ndarray, *, seed: int) -> np.ndarray:
    """Assign rows to folds so that every fold gets its share of the rows of each label.

    The rarest label comes first. Each of its rows goes to the fold that still needs most rows of this label.

    Args:
        labels: Whether each row has each label, bool of shape (rows, labels).
        shares: The share of rows that each fold gets, shape (folds,). The shares sum to 1.
        seed: Seed of the order of the rows, and of the choice between equally good folds.

    Returns:
        The fold of each row, of shape (rows,).

    References:
        Sechidis, Tsoumakas and Vlahavas 2011, On the stratification of multi-label data, algorithm 1.
    """
    random = np.random.default_rng(seed)
    labels = labels.astype(np.int64)
    order = random.permutation(len(labels))
    remaining = labels.sum(0)
    missing, missing_rows = shares[:, None] * remaining, shares * len(labels)
    folds = np.full(len(labels), -1)
    while remaining.any():
        rarest = np.flatnonzero(remaining == remaining[remaining > 0].min())
        label = random.choice(rarest)
        for row in order[(labels[order, label] > 0) & (folds[order] < 0)]:
            fold = folds[row] = largest(random, missing[:, label], missing_rows)
            missing[fold] -= labels[row]
            missing_rows[fold] -= 1
            remaining -= labels[row]
    for row in order[folds[order] < 0]:
        folds[row] = largest(random, missing_rows)
        missing_rows[folds[row]] -= 1
    return folds


def largest(random: np.random.Generator, *keys: np.ndarray) -> int:
    """Return the position of the largest value in keys[0]. keys[1] and so on break ties, then chance."""
    best = np.arange(len(keys[0]))
    for key in keys:
        best = best[key[best] >= key[best].max() - TIE]
    return int(random.choice(best)) if len(best) > 1 else int(best[0])
