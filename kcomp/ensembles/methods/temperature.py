"""Calibrate probabilities by temperature scaling; see `Target.tempered`."""

import numpy as np

from kcomp.metrics import log_loss
from kcomp.targets import Target

LOWEST, HIGHEST = 0.05, 20.0


def fit(probabilities: np.ndarray, labels: np.ndarray, target: Target) -> float:
    """Return the temperature, from 0.05 to 20, with the smallest log loss.

    Both arrays have the shape (rows, classes).

    References:
        Guo et al. 2017, On calibration of modern neural networks.
    """
    from scipy import optimize

    def loss(log_temperature: float) -> float:
        return log_loss(labels, target.tempered(probabilities, np.exp(log_temperature)), target)

    solution = optimize.minimize_scalar(
        loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(solution.x))
