"""Compute how much the predictions of an ensemble's members differ."""

import numpy as np

from kcomp.targets import Target


def correlations(values: np.ndarray, target: Target) -> np.ndarray:
    """Return Pearson's correlation between the predictions of each pair of members, (members, members).

    `values` are predictions (members, rows, columns). The correlation with constant predictions is NaN.
    """
    if not target.class_names:
        values = (values - values.mean((0, 1))) / np.maximum(values.std((0, 1)), 1e-15)
    flat = values.reshape(len(values), -1)
    flat = flat - flat.mean(1, keepdims=True)
    covariance = flat @ flat.T / flat.shape[1]
    spread = np.sqrt(np.where(covariance.diagonal() > 1e-15, covariance.diagonal(), np.nan))
    return covariance / np.outer(spread, spread)


def disagreements(values: np.ndarray, target: Target) -> np.ndarray:
    """Return the share of cases in which each pair of members predicts different classes, (members, members).

    `values` are predictions (members, rows, columns). A case is a row. For multi-label data, it is a label of a row.
    """
    decisions = np.stack([target.decide(member) for member in values]).reshape(len(values), -1)
    return np.stack([(decisions != own).mean(1) for own in decisions])


def equal_members(values: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of positions of members with identical predictions. The lower position comes first in a pair."""
    pairs = []
    first_with: dict[bytes, int] = {}
    for place, member in enumerate(values):
        first = first_with.setdefault(np.ascontiguousarray(member).tobytes(), place)
        if first != place:
            pairs.append((first, place))
    return pairs
