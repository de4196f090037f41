"""Correct predictions for class rates that differ between training and test rows (Saerens et al. 2002)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.targets import Target

TOLERANCE = 1e-9  # the estimate ends when no rate changes by more than this
STEPS = 20_000  # or after this many steps


@dataclass(frozen=True)
class Rates:
    """Class rates of test rows, estimated from predictions.

    Attributes:
        training: The rate of each class among the training rows, (classes,).
        estimated: The estimated rate of each class among the test rows, (classes,).
        p_value: The p-value of a test that the rates do not differ. Multi-label data has a p-value for each label,
            (classes,). Single-label data has one p-value, (1,).
    """

    training: np.ndarray
    estimated: np.ndarray
    p_value: np.ndarray


def training_rates(labels: np.ndarray) -> np.ndarray:
    """Return the share of each class, (classes,), among labels of shape (rows, classes). Missing labels (NaN) do not
    count.
    """
    return np.nanmean(labels, 0)


def estimate_rates(predictions: np.ndarray, training: np.ndarray, target: Target) -> Rates:
    """Return the class rates of the rows of `predictions`, estimated by expectation maximization.

    Each step corrects the predictions for the current rates. The mean of the corrected predictions is the new rates.
    The p-value comes from a likelihood-ratio test with a chi-squared distribution.

    Args:
        predictions: Probabilities, (rows, classes).
        training: The rate of each class among the training rows, (classes,).
        target: The target of the predictions.

    Raises:
        ValueError: If predictions are not probabilities of classes.

    References:
        Saerens et al. 2002, Adjusting the outputs of a classifier to new a priori probabilities, equations 9 and 14.
    """
    check_target(target)
    if target.stacker != "binary":
        estimated, p_value = expectation_maximization(predictions, training)
        return Rates(training, estimated, np.array([p_value]))
    pairs = [
        expectation_maximization(np.stack([1 - column, column], 1), np.array([1 - rate, rate]))
        for column, rate in zip(predictions.T, training, strict=True)
    ]
    return Rates(training, np.array([rates[1] for rates, _ in pairs]), np.array([p for _, p in pairs]))


def correct(predictions: np.ndarray, rates: Rates, target: Target) -> np.ndarray:
    """Return predictions that are corrected for the estimated rates.

    Each probability is multiplied by estimated rate / training rate. Then the probabilities of a row are divided by
    their sum (equation 4 of Saerens et al.). For multi-label data, this is done for each label with its two
    probabilities, p and 1 - p.
    """
    check_target(target)
    if target.stacker != "binary":
        return reweighted(predictions, factors(rates.estimated, rates.training))
    present = predictions * factors(rates.estimated, rates.training)
    absent = (1 - predictions) * factors(1 - rates.estimated, 1 - rates.training)
    total = present + absent
    return np.where(total > 0, present / np.where(total > 0, total, 1), predictions)


def expectation_maximization(predictions: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, float]:
    """Return two things: the estimated rates (classes,), and the p-value of the likelihood-ratio test.

    Each row of `predictions` (rows, classes) sums to 1.
    """
    from scipy import stats

    rates = training.copy()
    for _ in range(STEPS):
        updated = reweighted(predictions, factors(rates, training)).mean(0)
        step = np.abs(updated - rates).max()
        rates = updated
        if step < TOLERANCE:
            break
    ratio = predictions @ factors(rates, training)
    statistic = 2 * float(np.log(np.maximum(ratio, 1e-300)).sum())
    freedom = max(1, int((training > 0).sum()) - 1)
    return rates, float(stats.chi2.sf(max(statistic, 0.0), freedom))


def factors(rates: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return rates / training. A class without training rows has the factor 1."""
    return np.where(training > 0, rates / np.where(training > 0, training, 1), 1.0)


def reweighted(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    products = predictions * weights
    total = products.sum(1, keepdims=True)
    return np.where(total > 0, products / np.where(total > 0, total, 1), predictions)


def check_target(target: Target) -> None:
    if "vector" not in target.calibrations:
        raise ValueError(
            f"--correct-priors needs probabilities of classes, which a target of {target.name} does not have"
        )


def describe_rates(rates: Rates, held_out: Rates, target: Target) -> tuple[list[dict[str, Any]], list[str]]:
    """Return two things: table rows with the rates of each class, and sentences that say how reliable the rates are.

    Args:
        rates: The rates of the test rows.
        held_out: The rates of held-out rows, estimated in the same way. Their true rates are `held_out.training`.
        target: The target of the predictions.
    """
    lines: list[dict[str, Any]] = [
        {"class": name, "training rate": float(old), "estimated test rate": float(new)}
        for name, old, new in zip(target.class_names, rates.training, rates.estimated, strict=True)
    ]
    if len(rates.p_value) > 1:
        lines = [line | {"p": f"{p:.2g}"} for line, p in zip(lines, rates.p_value, strict=True)]
    shift = float(np.abs(rates.estimated - rates.training).max())
    errors = np.abs(held_out.estimated - held_out.training)
    return lines, [*significance(rates.p_value), reliability(shift, errors, target.class_names)]


def significance(p_values: np.ndarray) -> list[str]:
    threshold = 0.05 / len(p_values)
    if len(p_values) == 1:
        text = f"Likelihood-ratio test that the rates differ: p = {p_values[0]:.2g}."
    else:
        text = f"Likelihood-ratio test of each label: significant if p is below 0.05 / {len(p_values)}."
    if p_values.min() >= threshold:
        text += " The difference may be chance: leave out --correct-priors."
    return [text]


def reliability(shift: float, errors: np.ndarray, names: Sequence[str]) -> str:
    worst = int(errors.argmax())
    text = (
        f"On the held-out rows, whose rates are known, the same estimate is off by at most {errors[worst]:.3f} "
        f"({names[worst]}). On the test rows, the largest change is {shift:.3f}."
    )
    if 2 * errors[worst] >= shift:
        text += " The change is less than twice this error: leave out --correct-priors, or calibrate first."
    return (
        f"{text} The correction has no held-out score. It is right only if the predictions are calibrated, and if the "
        "images of each class look the same in both sets."
    )
