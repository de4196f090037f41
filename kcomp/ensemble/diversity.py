"""How alike members are: correlation of their probabilities, and how often they name different classes."""

import numpy as np


def correlations(values: np.ndarray) -> np.ndarray:
    """Pearson's correlation (members, members) over all probabilities of `values` (members, rows, classes).

    NaN for a member that says the same everywhere.
    """
    flat = values.reshape(len(values), -1)
    centred = flat.mean(1)
    covariance = flat @ flat.T / flat.shape[1] - np.outer(centred, centred)
    spread = np.sqrt(np.where(covariance.diagonal() > 1e-15, covariance.diagonal(), np.nan))
    return covariance / np.outer(spread, spread)


def disagreements(values: np.ndarray) -> np.ndarray:
    """The share of rows (members, members) in which the top classes differ."""
    tops = values.argmax(2)
    return np.stack([(tops != own).mean(1) for own in tops])
