"""How much the predictions of members differ."""

import numpy as np


def correlations(values: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation (members, members) over all probabilities of `values` (members, rows, classes).

    A member with constant probabilities has NaN.
    """
    flat = values.reshape(len(values), -1)
    means = flat.mean(1)
    covariance = flat @ flat.T / flat.shape[1] - np.outer(means, means)
    spread = np.sqrt(np.where(covariance.diagonal() > 1e-15, covariance.diagonal(), np.nan))
    return covariance / np.outer(spread, spread)


def disagreements(values: np.ndarray) -> np.ndarray:
    """Return the share of rows (members, members) in which the likeliest classes differ."""
    tops = values.argmax(2)
    return np.stack([(tops != own).mean(1) for own in tops])


def equal_members(values: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of positions of members with identical probabilities, each later one with its first double."""
    pairs = []
    first_with: dict[bytes, int] = {}
    for place, member in enumerate(values):
        first = first_with.setdefault(np.ascontiguousarray(member).tobytes(), place)
        if first != place:
            pairs.append((first, place))
    return pairs
