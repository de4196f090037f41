"""Measure how much the predictions of an ensemble's members differ."""

import numpy as np

from kcomp.targets import Target


def correlations(values: np.ndarray, target: Target) -> np.ndarray:
    """Return Pearson's correlation between the predictions of each pair of members, (members, members).

    `values` are predictions (members, rows, columns). Targets without classes have columns in different units, so each
    column is standardized first. The correlation with constant predictions is NaN.
    """
    if not target.class_names:
        values = (values - values.mean((0, 1))) / np.maximum(values.std((0, 1)), 1e-15)
    flat = values.reshape(len(values), -1)
    flat = flat - flat.mean(1, keepdims=True)
    covariance = flat @ flat.T / flat.shape[1]
    spread = np.sqrt(np.where(covariance.diagonal() > 1e-15, covariance.diagonal(), np.nan))
    return covariance / np.outer(spread, spread)


def disagreements(values: np.ndarray, target: Target) -> np.ndarray:
    """Return how often each pair of members predicts different classes, as a share of all cases, (members, members).

    `values` are predictions (members, rows, columns). A case is the class or grade of a row, or one of its labels. The
    target must have classes.
    """
    decisions = np.stack([target.decide(member) for member in values]).reshape(len(values), -1)
    return np.stack([(decisions != own).mean(1) for own in decisions])


def equal_members(values: np.ndarray) -> list[tuple[int, int]]:
    """Return the positions of each pair of members with identical predictions.

    The first of several identical members is paired with each of the others.
    """
    pairs = []
    first_with: dict[bytes, int] = {}
    for place, member in enumerate(values):
        first = first_with.setdefault(np.ascontiguousarray(member).tobytes(), place)
        if first != place:
            pairs.append((first, place))
    return pairs
