"""Combine predictions of several models by averages that need no fit, or by a weighted mean."""

from collections.abc import Callable, Sequence

import numpy as np

from kcomp.targets import Target

AVERAGES = ("mean", "median", "vote", "gmean", "rank")
Values = Sequence[np.ndarray]  # the predictions (rows, columns) of each member
Blend = Callable[[Values], np.ndarray]


def average_of(method: str, target: Target) -> Blend:
    """Return a function that combines the predictions of several models.

    `method` is "mean", "median", "vote", "gmean" (geometric mean) or "rank". If the target does not support it, the
    returned function raises ValueError.
    """
    functions: dict[str, Blend] = {
        "mean": target.average,
        "median": target.median,
        "vote": target.vote,
        "gmean": target.gmean,
        "rank": target.rank,
    }
    return functions[method]


def weighted(values: Values, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of the members' predictions, (rows, columns). `weights` (members,) must sum to 1."""
    total = np.zeros(values[0].shape, np.float64)
    for weight, member in zip(weights, values, strict=True):
        total += weight * member
    return total
