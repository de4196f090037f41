"""Fit a method of joining members on some rows, and apply it to others."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kcomp.ensembles.methods import averages, stacking, temperature, weights
from kcomp.metrics.scores import Scorer

AVERAGES = {"mean": averages.mean, "vote": averages.vote, "gmean": averages.gmean, "rank": averages.rank}
WEIGHTS = {"search": weights.searched, "greedy": weights.greedy}
METHODS = (*AVERAGES, *WEIGHTS, "stack")


@dataclass(frozen=True)
class FittedMethod:
    """A method of joining members with its fitted numbers.

    blend:         takes values (members, rows, classes), calibrated first when there are `temperatures`.
    weights, temperatures:  of shape (members,), or None.
    penalty:       the L2 penalty of stacking, or None.
    """

    blend: Callable[[averages.Values], np.ndarray]
    weights: np.ndarray | None = None
    temperatures: np.ndarray | None = None
    penalty: float | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return probabilities (rows, classes) from those of the members (members, rows, classes)."""
        if self.temperatures is not None:
            values = temperature.apply_each(values, self.temperatures)
        return self.blend(values)


def is_fitted(method: str, *, calibrate: bool) -> bool:
    """Return whether the method fits numbers on the rows; only then it needs nested cross-validation."""
    return calibrate or method not in AVERAGES


def fit_method(
    method: str, values: np.ndarray, labels: np.ndarray, scorer: Scorer, *, calibrate: bool = False
) -> FittedMethod:
    """Fit `method` to the metric on values (members, rows, classes) and labels (rows, classes)."""
    if method not in METHODS:
        raise ValueError(f"the method must be one of {', '.join(METHODS)}; received {method!r}")
    temperatures = temperature.fit_each(values, labels) if calibrate else None
    if method in AVERAGES:
        return FittedMethod(AVERAGES[method], temperatures=temperatures)
    if temperatures is not None:
        values = temperature.apply_each(values, temperatures)
    if method == "stack":
        stacker = stacking.fit(values, labels)
        return FittedMethod(stacker, temperatures=temperatures, penalty=stacker.penalty)
    member_weights = WEIGHTS[method](list(values), labels, scorer)
    return FittedMethod(
        lambda member_values: averages.weighted(member_values, member_weights), member_weights, temperatures
    )


def predict_unseen(
    method: str, values: np.ndarray, labels: np.ndarray, scorer: Scorer, parts: np.ndarray, *, calibrate: bool = False
) -> np.ndarray:
    """Return the ensemble's probabilities (rows, classes), those of each part from a fit on all other parts.

    Averages only fit temperatures: each part is calibrated with those of the other parts, then all rows are averaged.
    Raises ValueError when there is only one part.
    """
    if not is_fitted(method, calibrate=calibrate):
        return AVERAGES[method](values)
    numbers = np.unique(parts)
    if len(numbers) < 2:
        raise ValueError(f"nested cross-validation needs at least 2 held-out rows; received {len(parts)}")
    if method in AVERAGES:
        calibrated = np.empty_like(values)
        for part in numbers:
            mask = parts == part
            temperatures = temperature.fit_each(values[:, ~mask], labels[~mask])
            calibrated[:, mask] = temperature.apply_each(values[:, mask], temperatures)
        return AVERAGES[method](calibrated)
    probabilities = np.empty(labels.shape)
    for part in numbers:
        mask = parts == part
        fitted = fit_method(method, values[:, ~mask], labels[~mask], scorer, calibrate=calibrate)
        probabilities[mask] = fitted(values[:, mask])
    return probabilities
