"""Draw the rows of an epoch by weights, for example to show rare classes as often as common ones."""

import numpy as np

from kcomp.data.tables import OTHER, Table

BALANCED = "balanced"


def sampling_weights(table: Table, sampling: str) -> np.ndarray:
    """Return the weight of each row, float64 (rows,). A row is drawn in proportion to its weight.

    Args:
        table: The rows.
        sampling: "balanced" for weights with which each class is drawn equally often, or the name of a column of
            weights from 0 in the table.

    Raises:
        ValueError: If the rows do not have one class each, or the column does not exist or has invalid weights.
    """
    if sampling == BALANCED:
        return balanced_weights(table)
    name = next((name for name in (sampling, OTHER + sampling) if name in table.frame), None)
    if name is None:
        raise ValueError(f"sampling must be 'balanced' or a column of weights; the table has no column {sampling!r}")
    try:
        weights = table.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except ValueError as error:
        raise ValueError(f"the weights in column {sampling!r} must be numbers: {error}") from error
    valid = np.isfinite(weights) & (weights >= 0)
    if not valid.all():
        row = int(np.flatnonzero(~valid)[0])
        raise ValueError(f"a weight must be a number from 0; row {table.ids[row]!r} has {weights[row]} in {sampling!r}")
    if not weights.any():
        raise ValueError(f"at least one weight must be above 0; all {len(weights)} in column {sampling!r} are 0")
    return weights


def balanced_weights(table: Table) -> np.ndarray:
    """Return 1 / (number of rows of the class) for each row."""
    target = table.required_target
    classes = target.strata(table.labels) if target.class_names else np.empty((0, 0))
    if classes.ndim != 1:
        raise ValueError(
            f"sampling='balanced' needs one class for each row; the target is {target.name}; use a column of weights"
        )
    return 1 / np.bincount(classes)[classes]


def draw_rows(draws: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Draw as many rows as there are weights, each in proportion to its weight. Return positions, int (rows,).

    With n rows, a row of weight w is expected n * w / sum(weights) times. It is drawn exactly so often, rounded up or
    down at random. Equal weights therefore draw each row once. The order is random.

    References:
        Systematic sampling: Madow and Madow 1944, On the theory of systematic sampling.
    """
    count = len(weights)
    order = draws.permutation(count)
    ends = np.cumsum(weights[order]) * (count / weights.sum())
    points = draws.random() + np.arange(count)
    places = np.searchsorted(ends, points, side="right")
    last = np.flatnonzero(weights[order])[-1]  # rounding must not lead beyond the last row with a weight
    return draws.permutation(order[np.minimum(places, last)])


def copy_numbers(rows: np.ndarray) -> np.ndarray:
    """Return for each row of an epoch how often the same row came before, int (rows,)."""
    order = np.argsort(rows, kind="stable")
    starts = np.searchsorted(rows[order], rows[order])
    copies = np.empty(len(rows), np.int64)
    copies[order] = np.arange(len(rows)) - starts
    return copies
