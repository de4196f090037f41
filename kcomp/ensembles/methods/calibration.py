"""Calibrate the predictions of a model, with a fit on rows that the model was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kcomp.ensembles.methods import temperature
from kcomp.targets import Target
from kcomp.targets.arrays import log_odds, sigmoid, softmax

SMALLEST = 1e-7  # smaller float32 probabilities are mostly rounding, and their logarithms would be outliers
LOWEST, HIGHEST = 1 / temperature.HIGHEST, 1 / temperature.LOWEST  # bounds of the scales of vector scaling
SHIFT = 20.0  # bound of the offsets of vector scaling


class Calibrator(Protocol):
    """A fitted calibration: a function from predictions (rows, columns) to calibrated predictions (rows, columns)."""

    def __call__(self, predictions: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Temperature:
    """A calibration that divides logits by `value`. A value above 1 makes probabilities less extreme."""

    value: float
    target: Target

    def __call__(self, predictions: np.ndarray) -> np.ndarray:
        return self.target.tempered(predictions, self.value)


def fit_temperature(predictions: np.ndarray, labels: np.ndarray, target: Target) -> Temperature:
    return Temperature(temperature.fit(predictions, labels, target), target)


@dataclass(frozen=True)
class Isotonic:
    """A calibration by a rising step function for each column.

    Attributes:
        columns: The isotonic regression (scikit-learn) of each column. None for a column without a known label.
        floor: Probabilities are clipped to the range from `floor` to 1 - `floor`. Otherwise one wrong label would make
            the log loss infinite. 0 for targets without probabilities.
        target: The target of the predictions.
    """

    columns: tuple[Any, ...]
    floor: float
    target: Target

    def __call__(self, predictions: np.ndarray) -> np.ndarray:
        calibrated = predictions.astype(np.float64)
        for number, model in enumerate(self.columns):
            if model is not None:
                calibrated[:, number] = model.predict(predictions[:, number])
        if self.floor:
            calibrated = np.clip(calibrated, self.floor, 1 - self.floor)
        return self.target.normalized(calibrated)


def fit_isotonic(predictions: np.ndarray, labels: np.ndarray, target: Target) -> Isotonic:
    """Fit an isotonic regression of the labels on the predictions for each column. Rows without a label are left out.

    The floor of probabilities is 1 / (rows + 2), as in Laplace's rule of succession.

    References:
        Zadrozny and Elkan 2002, Transforming classifier scores into accurate multiclass probability estimates.
    """
    from sklearn.isotonic import IsotonicRegression

    models = []
    for column, true in zip(predictions.T, labels.T, strict=True):
        known = ~np.isnan(true)
        model = IsotonicRegression(out_of_bounds="clip")
        models.append(model.fit(column[known], true[known]) if known.any() else None)
    is_probability = "vector" in target.calibrations
    return Isotonic(tuple(models), 1 / (len(labels) + 2) if is_probability else 0.0, target)


@dataclass(frozen=True)
class VectorScaling:
    """A calibration that multiplies the logit of each class by a scale, and adds an offset.

    Attributes:
        scales: Shape (classes,).
        offsets: Shape (classes,).
        target: The target of the predictions.
    """

    scales: np.ndarray
    offsets: np.ndarray
    target: Target

    def __call__(self, predictions: np.ndarray) -> np.ndarray:
        link = sigmoid if self.target.stacker == "binary" else softmax
        return link(logits_of(predictions, self.target) * self.scales + self.offsets)


def logits_of(predictions: np.ndarray, target: Target) -> np.ndarray:
    """Return the logits of probabilities, (rows, columns).

    For multi-label data, they are log(p / (1 - p)). For single-label data, they are log(p) minus its mean over classes.
    """
    if target.stacker == "binary":
        return log_odds(np.clip(predictions, SMALLEST, 1 - SMALLEST))
    logs = np.log(np.maximum(predictions, SMALLEST))
    return logs - logs.mean(1, keepdims=True)


def fit_vector(predictions: np.ndarray, labels: np.ndarray, target: Target) -> VectorScaling:
    """Fit the scales and offsets with the smallest log loss.

    Scales lie between 0.05 and 20, and offsets between -20 and 20. For multi-label data, each label has a logistic
    regression on its logit (Platt scaling). A label that is always 0 or always 1 gets scale 1 and offset 0.

    References:
        Guo et al. 2017, On calibration of modern neural networks, section 4.2.
    """
    logits, count = logits_of(predictions, target), predictions.shape[1]
    if target.stacker != "binary":
        scales, offsets = minimize(logits, labels, softmax)
        return VectorScaling(scales, offsets, target)
    scales, offsets = np.ones(count), np.zeros(count)
    for number, true in enumerate(labels.T):
        known = ~np.isnan(true)
        if len(np.unique(true[known] > 0.5)) == 2:
            fitted = minimize(logits[known, number : number + 1], true[known, None], sigmoid)
            scales[number], offsets[number] = fitted[0][0], fitted[1][0]
    return VectorScaling(scales, offsets, target)


def minimize(
    logits: np.ndarray, labels: np.ndarray, link: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scales and offsets (columns,) that minimize the mean cross-entropy of link(logits * scales + offsets).

    Both arrays have the shape (rows, columns). `link` is the softmax over columns, or the sigmoid of one column.
    """
    from scipy import optimize, special

    count = logits.shape[1]

    def loss(packed: np.ndarray) -> tuple[float, np.ndarray]:
        changed = logits * packed[:count] + packed[count:]
        # the logarithm of the sum of the exponentials of all logits; the sigmoid's other logit is 0
        total = np.logaddexp(0, changed[:, 0]) if link is sigmoid else special.logsumexp(changed, axis=1)
        shares = labels if link is sigmoid else labels / labels.sum(1, keepdims=True)
        slope = (link(changed) - shares) / len(logits)
        gradient = np.concatenate([(slope * logits).sum(0), slope.sum(0)])
        return float((total - (shares * changed).sum(1)).mean()), gradient

    start = np.concatenate([np.ones(count), np.zeros(count)])
    bounds = [(LOWEST, HIGHEST)] * count + [(-SHIFT, SHIFT)] * count
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-7}
    solution = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return solution[:count], solution[count:]


FITS: dict[str, Callable[[np.ndarray, np.ndarray, Target], Calibrator]] = {
    "temperature": fit_temperature,
    "isotonic": fit_isotonic,
    "vector": fit_vector,
}


def fit_each(kind: str, values: np.ndarray, labels: np.ndarray, target: Target) -> tuple[Calibrator, ...]:
    """Return a fitted calibration for each member.

    Args:
        kind: "temperature", "isotonic" or "vector".
        values: Predictions of the members, (members, rows, columns).
        labels: Labels, (rows, columns).
        target: The target of the predictions.

    Raises:
        ValueError: If the target does not support this kind of calibration.
    """
    if kind not in FITS:
        raise ValueError(f"the calibration must be one of {', '.join(FITS)}; received {kind!r}")
    if kind not in target.calibrations:
        raise ValueError(
            f"--calibrate {kind} needs probabilities; predictions of {target.name} are calibrated by "
            f"{' or '.join(target.calibrations)}"
        )
    return tuple(FITS[kind](member, labels, target) for member in values)


def apply_each(values: np.ndarray, calibrators: tuple[Calibrator, ...]) -> np.ndarray:
    return np.stack([calibrator(member) for member, calibrator in zip(values, calibrators, strict=True)])
