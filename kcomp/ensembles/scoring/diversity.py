"""Measure how much the predictions of members differ."""

import numpy as np

from kcomp.targets import Target


def correlations(values: np.ndarray, target: Target) -> np.ndarray:
    """Return Pearson's correlation (members, members) over all predictions of `values` (members, rows, columns).

    Predictions that are not probabilities are standardized first, because columns have different units. The correlation
    with a member of constant predictions is NaN.
    """
    if not target.class_names:
        values = (values - values.mean((0, 1))) / np.maximum(values.std((0, 1)), 1e-15)
    flat = values.reshape(len(values), -1)
    flat = flat - flat.mean(1, keepdims=True)
    covariance = flat @ flat.T / flat.shape[1]
    spread = np.sqrt(np.where(covariance.diagonal() > 1e-15, covariance.diagonal(), np.nan))
    return covariance / np.outer(spread, spread)


def disagreements(values: np.ndarray, target: Target) -> np.ndarray:
    """Return, for each pair of members, the share of predicted classes, labels or grades that differ.

    The result has the shape (members, members).

    The target must have classes.
    """
    decisions = np.stack([target.decide(member) for member in values]).reshape(len(values), -1)
    return np.stack([(decisions != own).mean(1) for own in decisions])


def equal_members(values: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs (first, later) of positions of members whose predictions are identical."""
    pairs = []
    first_with: dict[bytes, int] = {}
    for place, member in enumerate(values):
        first = first_with.setdefault(np.ascontiguousarray(member).tobytes(), place)
        if first != place:
            pairs.append((first, place))
    return pairs
