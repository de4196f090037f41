"""Calibrate by a temperature: probabilities to the power of 1 / temperature, each row divided by its sum."""

import numpy as np

from kcomp.ensembles.methods.averages import softmax
from kcomp.ensembles.methods.objectives import SMALLEST

LOWEST, HIGHEST = 0.05, 20.0


def fit(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature (0.05 to 20) with the smallest log loss; both arguments have shape (rows, classes).

    A temperature above 1 softens probabilities, one below 1 sharpens them. Log loss is convex in 1 / temperature, so
    there is one minimum. Guo et al. 2017, On calibration of modern neural networks.
    """
    from scipy import optimize

    logs = np.log(np.maximum(probabilities, SMALLEST))
    logs -= logs.max(1, keepdims=True)
    named = (labels * logs).sum(1).mean()

    def loss(log_temperature: float) -> float:
        sharpness = np.exp(-log_temperature)
        return float(np.log(np.exp(sharpness * logs).sum(1)).mean() - sharpness * named)

    solution = optimize.minimize_scalar(
        loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(solution.x))


def fit_each(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a temperature for each member (members,) of `values` (members, rows, classes)."""
    return np.array([fit(member, labels) for member in values])


def apply(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (rows, classes) at that temperature; 1 changes nothing."""
    return softmax(np.log(np.maximum(probabilities, SMALLEST)) / temperature)


def apply_each(values: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    return np.stack([apply(member, temperature) for member, temperature in zip(values, temperatures, strict=True)])
