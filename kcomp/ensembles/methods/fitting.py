"""Fit a method that combines the predictions of several models."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kcomp.ensembles.methods import averages, calibration, stacking, trees, weights
from kcomp.ensembles.methods.averages import AVERAGES, average_of
from kcomp.metrics.scores import Scorer
from kcomp.targets import Target

WEIGHTS = {"search": weights.searched, "greedy": weights.greedy}
METHODS = (*AVERAGES, *WEIGHTS, "stack", *trees.KINDS)


@dataclass(frozen=True)
class FittedMethod:
    """A fitted method that combines the members' predictions.

    Attributes:
        target: The target of the predictions.
        blend: Function that combines the members' predictions (members, rows, columns) to one prediction (rows,
            columns).
        weights: The weight of each member, (members,). None if the method has no weights.
        calibrators: The calibration of each member, which is applied before `blend`. None for no calibration.
        penalties: The L2 penalties of stacking: one number, or a number for each column. Empty for other methods.
        stacker: Fitted trees, which combine predictions and further inputs instead of `blend`. None for other methods.
    """

    target: Target
    blend: Callable[[averages.Values], np.ndarray] | None = None
    weights: np.ndarray | None = None
    calibrators: tuple[calibration.Calibrator, ...] | None = None
    penalties: tuple[float, ...] = ()
    stacker: trees.TreeStacker | None = None

    def __call__(self, values: np.ndarray, inputs: np.ndarray | None = None) -> np.ndarray:
        """Return the combined predictions (rows, columns) after calibration.

        `values` are predictions (members, rows, columns), and `inputs` are the further inputs of trees (rows, inputs).
        """
        if self.calibrators is not None:
            values = calibration.apply_each(values, self.calibrators)
        return self.combine(list(values), inputs)

    def combine(self, values: averages.Values, inputs: np.ndarray | None = None) -> np.ndarray:
        if self.stacker is not None:
            return self.stacker(values, inputs)
        assert self.blend is not None
        return self.blend(values)


def is_fitted(method: str, *, calibrate: str | None) -> bool:
    """Return whether the method or the calibration must be fitted on held-out rows. Plain averages need no fit."""
    return calibrate is not None or method not in AVERAGES


def fit_method(
    method: str,
    values: np.ndarray,
    labels: np.ndarray,
    scorer: Scorer,
    *,
    calibrate: str | None = None,
    inputs: np.ndarray | None = None,
) -> FittedMethod:
    """Fit a method so that the metric of the combined predictions is best.

    Args:
        method: A name from `METHODS`.
        values: Predictions of the members, (members, rows, columns).
        labels: Labels, (rows, columns).
        scorer: The metric and the target.
        calibrate: How to calibrate each member first, a name from `kcomp.ensembles.CALIBRATIONS`, or None.
        inputs: Further inputs of trees, (rows, inputs). NaN is a missing value. None for no inputs.

    Raises:
        ValueError: If the target does not support the method or the calibration.
    """
    if method not in METHODS:
        raise ValueError(f"the method must be one of {', '.join(METHODS)}; received {method!r}")
    target = scorer.target
    calibrators = None if calibrate is None else calibration.fit_each(calibrate, values, labels, target)
    if method in AVERAGES:
        return FittedMethod(target, average_of(method, target), calibrators=calibrators)
    if calibrators is not None:
        values = calibration.apply_each(values, calibrators)
    if method == "stack":
        stacker = stacking.fit(values, labels, target)
        return FittedMethod(target, stacker, calibrators=calibrators, penalties=stacker.penalties)
    if method in trees.KINDS:
        fitted_trees = trees.fit(method, values, labels, target, inputs)
        return FittedMethod(target, calibrators=calibrators, stacker=fitted_trees)
    member_weights = WEIGHTS[method](list(values), labels, scorer)
    return FittedMethod(
        target, lambda member_values: averages.weighted(member_values, member_weights), member_weights, calibrators
    )


def predict_unseen(
    method: str,
    values: np.ndarray,
    labels: np.ndarray,
    scorer: Scorer,
    parts: np.ndarray,
    *,
    calibrate: str | None = None,
    inputs: np.ndarray | None = None,
) -> np.ndarray:
    """Return the combined predictions (rows, columns) by nested cross-validation.

    For each part of the rows, the method is fitted on all other parts and predicts this part.

    Args:
        method: A name from `METHODS`.
        values: Predictions of the members, (members, rows, columns).
        labels: Labels, (rows, columns).
        scorer: The metric and the target.
        parts: The part of each row, (rows,).
        calibrate: How to calibrate each member first. None for no calibration.
        inputs: Further inputs of trees, (rows, inputs). None for no inputs.

    Raises:
        ValueError: If there is something to fit and only one part.
    """
    if not is_fitted(method, calibrate=calibrate):
        return average_of(method, scorer.target)(list(values))
    numbers = np.unique(parts)
    if len(numbers) < 2:
        raise ValueError(f"nested cross-validation needs at least 2 held-out rows; received {len(parts)}")
    if method in AVERAGES and calibrate is not None:
        calibrated = np.empty_like(values)
        for part in numbers:
            mask = parts == part
            calibrators = calibration.fit_each(calibrate, values[:, ~mask], labels[~mask], scorer.target)
            calibrated[:, mask] = calibration.apply_each(values[:, mask], calibrators)
        return average_of(method, scorer.target)(list(calibrated))
    predictions = np.empty(values.shape[1:])
    for part in numbers:
        mask = parts == part
        own, others = (None, None) if inputs is None else (inputs[mask], inputs[~mask])
        fitted = fit_method(method, values[:, ~mask], labels[~mask], scorer, calibrate=calibrate, inputs=others)
        predictions[mask] = fitted(values[:, mask], own)
    return predictions
