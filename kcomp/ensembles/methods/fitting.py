"""Fit a method that combines the predictions of members on some rows, and apply it to other rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kcomp.ensembles.methods import averages, stacking, temperature, weights
from kcomp.ensembles.methods.averages import AVERAGES, average_of
from kcomp.metrics.scores import Scorer
from kcomp.targets import Target

WEIGHTS = {"search": weights.searched, "greedy": weights.greedy}
METHODS = (*AVERAGES, *WEIGHTS, "stack")


@dataclass(frozen=True)
class FittedMethod:
    """A method that combines predictions, with its fitted numbers.

    target:        the target of the predictions.
    blend:         function that combines the members' predictions (members, rows, columns).
    weights:       the weight of each member (members,), or None if the method has no weights.
    temperatures:  the temperature of each member (members,). They calibrate predictions before `blend`. None for none.
    penalties:     the L2 penalties of stacking: one, or one for each column. Empty for other methods.
    """

    target: Target
    blend: Callable[[averages.Values], np.ndarray]
    weights: np.ndarray | None = None
    temperatures: np.ndarray | None = None
    penalties: tuple[float, ...] = ()

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return predictions (rows, columns) from the predictions of the members (members, rows, columns)."""
        if self.temperatures is not None:
            values = temperature.apply_each(values, self.temperatures, self.target)
        return self.blend(list(values))


def is_fitted(method: str, *, calibrate: bool) -> bool:
    """Return whether the method fits numbers, such as weights. Only such methods need nested cross-validation."""
    return calibrate or method not in AVERAGES


def fit_method(
    method: str, values: np.ndarray, labels: np.ndarray, scorer: Scorer, *, calibrate: bool = False
) -> FittedMethod:
    """Fit `method` to predictions `values` (members, rows, columns) and labels (rows, columns) for the best metric.

    calibrate: whether to fit a temperature for each member first.

    Raises ValueError if the target does not support the method or temperatures.
    """
    if method not in METHODS:
        raise ValueError(f"the method must be one of {', '.join(METHODS)}; received {method!r}")
    target = scorer.target
    temperatures = temperature.fit_each(values, labels, target) if calibrate else None
    if method in AVERAGES:
        return FittedMethod(target, average_of(method, target), temperatures=temperatures)
    if temperatures is not None:
        values = temperature.apply_each(values, temperatures, target)
    if method == "stack":
        stacker = stacking.fit(values, labels, target)
        return FittedMethod(target, stacker, temperatures=temperatures, penalties=stacker.penalties)
    member_weights = WEIGHTS[method](list(values), labels, scorer)
    return FittedMethod(
        target, lambda member_values: averages.weighted(member_values, member_weights), member_weights, temperatures
    )


def predict_unseen(
    method: str, values: np.ndarray, labels: np.ndarray, scorer: Scorer, parts: np.ndarray, *, calibrate: bool = False
) -> np.ndarray:
    """Return the ensemble's predictions (rows, columns) by nested cross-validation.

    Each part of the rows is predicted with a method that is fitted on all other parts. An average has nothing to fit
    but temperatures. Raises ValueError if there is only one part.
    """
    if not is_fitted(method, calibrate=calibrate):
        return average_of(method, scorer.target)(list(values))
    numbers = np.unique(parts)
    if len(numbers) < 2:
        raise ValueError(f"nested cross-validation needs at least 2 held-out rows; received {len(parts)}")
    if method in AVERAGES:
        calibrated = np.empty_like(values)
        for part in numbers:
            mask = parts == part
            temperatures = temperature.fit_each(values[:, ~mask], labels[~mask], scorer.target)
            calibrated[:, mask] = temperature.apply_each(values[:, mask], temperatures, scorer.target)
        return average_of(method, scorer.target)(list(calibrated))
    predictions = np.empty(values.shape[1:])
    for part in numbers:
        mask = parts == part
        fitted = fit_method(method, values[:, ~mask], labels[~mask], scorer, calibrate=calibrate)
        predictions[mask] = fitted(values[:, mask])
    return predictions
