"""Every way to join members: fitted on some rows, applied to others, and judged on rows it was not fitted on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kcomp.ensemble import averages, stacking, temperature, weights

AVERAGES = {"mean": averages.mean, "vote": averages.vote, "gmean": averages.gmean, "rank": averages.rank}
WEIGHTS = {"search": weights.searched, "greedy": weights.greedy}
METHODS = (*AVERAGES, *WEIGHTS, "stack")


@dataclass(frozen=True)
class Fitted:
    """What was fitted: `blend` takes values (members, rows, classes), calibrated where there are `temperatures`.

    `weights` and `temperatures` have shape (members,) or are None; `penalty` is the stacker's.
    """

    blend: Callable[[averages.Values], np.ndarray]
    weights: np.ndarray | None = None
    temperatures: np.ndarray | None = None
    penalty: float | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Probabilities (rows, classes) from the members' own."""
        if self.temperatures is not None:
            values = temperature.apply_each(values, self.temperatures)
        return self.blend(values)


def is_fitted(method: str, *, calibrate: bool) -> bool:
    """Whether anything is chosen on the rows; where not, the rows judge it as they are."""
    return calibrate or method not in AVERAGES


def fit(method: str, values: np.ndarray, labels: np.ndarray, metric: str, *, calibrate: bool = False) -> Fitted:
    """Fit `method` to `metric` on values (members, rows, classes) and labels (rows, classes)."""
    if method not in METHODS:
        raise ValueError(f"the methods are {', '.join(METHODS)}; received {method!r}")
    temperatures = temperature.fit_each(values, labels) if calibrate else None
    if method in AVERAGES:
        return Fitted(AVERAGES[method], temperatures=temperatures)
    if temperatures is not None:
        values = temperature.apply_each(values, temperatures)
    if method == "stack":
        stacker = stacking.fit(values, labels)
        return Fitted(stacker, temperatures=temperatures, penalty=stacker.penalty)
    found = WEIGHTS[method](list(values), labels, metric)
    return Fitted(lambda given: averages.weighted(given, found), found, temperatures)


def out_of_part(
    method: str, values: np.ndarray, labels: np.ndarray, metric: str, parts: np.ndarray, *, calibrate: bool = False
) -> np.ndarray:
    """The ensemble's probabilities (rows, classes), for each part of the rows fitted on all other parts.

    Averages fit nothing but temperatures: each part's members are calibrated on the others, then all rows averaged.
    ValueError where there is nothing to hold out.
    """
    if not is_fitted(method, calibrate=calibrate):
        return AVERAGES[method](values)
    numbers = np.unique(parts)
    if len(numbers) < 2:
        raise ValueError(f"what is fitted needs at least 2 rows to be judged on others; received {len(parts)}")
    if method in AVERAGES:
        calibrated = np.empty_like(values)
        for part in numbers:
            chosen = parts == part
            fitted = temperature.fit_each(values[:, ~chosen], labels[~chosen])
            calibrated[:, chosen] = temperature.apply_each(values[:, chosen], fitted)
        return AVERAGES[method](calibrated)
    found = np.empty(labels.shape)
    for part in numbers:
        chosen = parts == part
        one = fit(method, values[:, ~chosen], labels[~chosen], metric, calibrate=calibrate)
        found[chosen] = one(values[:, chosen])
    return found
