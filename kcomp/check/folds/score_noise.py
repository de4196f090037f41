"""Estimate by simulation how much a score varies with the choice of rows."""

import functools
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import special

from kcomp.metrics import Metric
from kcomp.targets import Target

TYPICAL_ACCURACY = 0.9  # of one class and of grades
TYPICAL_AREA = 0.9  # ROC AUC of each of several labels
TYPICAL_R2 = 0.75  # of numbers
SHARED = 0.5  # share of the variance of two models' errors that they have in common
DRAWS = 48
CELLS = 6000  # rows times columns of a simulation
LEAST_ROWS = 100  # of a simulation
NORMAL = 1.96  # standard deviations of a 95 % interval


@dataclass(frozen=True)
class Noise:
    """How much a score varies with the choice of rows.

    Attributes:
        score: The assumed score of a typical model.
        rows: The number of rows on which a model is scored.
        deviation: The standard error of the score on `rows` rows.
        difference: In 95 % of cases, the scores of two equally good models on the same rows differ by at most this
            number.
        assumption: What the simulation assumes.
    """

    score: float
    rows: int
    deviation: float
    difference: float
    assumption: str

    def at(self, rows: int) -> "Noise":
        """Return the noise of the same score on another number of rows."""
        factor = sqrt(self.rows / max(rows, 1))
        return Noise(self.score, rows, self.deviation * factor, self.difference * factor, self.assumption)


def score_noise(metric: Metric, target: Target, labels: np.ndarray, seed: int = 0) -> Noise | None:
    """Return the noise of a score, or None if the metric is undefined for these labels.

    The accuracy of one class has the binomial standard error. The difference of two accuracies has the standard error
    of McNemar's test (1947). For other metrics, rows are drawn with replacement and predictions are simulated.

    Args:
        metric: The metric of the competition.
        target: The target of the labels.
        labels: The labels of all held-out rows, (rows, columns).
        seed: Seed of the simulation.
    """
    if not len(labels):
        return None
    labels = labels[~np.isnan(labels).all(1)]
    if metric.name == "accuracy" and target.class_names and target.decide(labels[:1]).ndim == 1:
        return accuracy_noise(len(labels))
    return simulated_noise(metric, target, labels, seed)


def accuracy_noise(rows: int) -> Noise:
    """Return the noise of an accuracy of 90 % on `rows` rows. Two models are assumed to share half of their errors."""
    error = 1 - TYPICAL_ACCURACY
    deviation = sqrt(TYPICAL_ACCURACY * error / rows)
    difference = NORMAL * sqrt(2 * (1 - SHARED) * error / rows)
    text = f"an accuracy of {100 * TYPICAL_ACCURACY:.0f} %, and two models that share half of their errors"
    return Noise(TYPICAL_ACCURACY, rows, deviation, difference, text)


def simulated_noise(metric: Metric, target: Target, labels: np.ndarray, seed: int) -> Noise | None:
    random = np.random.default_rng([seed, 11])
    rows = int(np.clip(CELLS // labels.shape[1], LEAST_ROWS, max(len(labels), LEAST_ROWS)))
    if not target.class_names:
        target = target.fitted(labels) if (~np.isnan(labels)).any(0).all() else target
    scores = []
    for _ in range(DRAWS):
        chosen = labels[random.integers(0, len(labels), rows)]
        shared = random.normal(size=chosen.shape)
        pair = []
        for _ in range(2):
            own = random.normal(size=shared.shape)
            noise = sqrt(SHARED) * shared + sqrt(1 - SHARED) * own
            try:
                pair.append(metric(chosen, simulate(target, chosen, noise, labels), target))
            except (ValueError, ArithmeticError, TypeError, IndexError):
                return None  # a metric that is undefined here
        scores.append(pair)
    values = np.array(scores)
    values = values[np.isfinite(values).all(1)]
    if len(values) < DRAWS // 2:
        return None
    deviation, difference = values.std(0, ddof=1).mean(), (values[:, 0] - values[:, 1]).std(ddof=1)
    simulated = Noise(float(values.mean()), rows, float(deviation), float(NORMAL * difference), assumption_of(target))
    return simulated.at(len(labels))


def assumption_of(target: Target) -> str:
    if target.stacker == "multinomial":
        text = f"logits are normally distributed, and the true class has the highest in {100 * TYPICAL_ACCURACY:.0f} %"
    elif target.stacker == "binary":
        text = f"the logits of each label are normal, with a ROC AUC of {TYPICAL_AREA}"
    else:
        text = f"predictions have normal errors, with an R² of {TYPICAL_R2}"
    return f"{text}; two models share half of the variance of their errors"


def simulate(target: Target, labels: np.ndarray, noise: np.ndarray, all_labels: np.ndarray) -> np.ndarray:
    """Return predictions of a simulated model of typical skill, (rows, prediction columns).

    Args:
        target: The target of the labels.
        labels: The labels to predict, (rows, columns).
        noise: Standard normal numbers, (rows, columns).
        all_labels: The labels of all rows. They determine the frequency of each class, or mean and standard deviation.
    """
    columns = labels.shape[1]
    if target.stacker == "multinomial":
        signal = signal_of(columns)
        hot = np.eye(columns)[target.decide(labels)]
        return target.predict(signal * (signal * hot + noise))
    known = ~np.isnan(all_labels)
    means = np.where(known, all_labels, 0).sum(0) / np.maximum(known.sum(0), 1)
    labels = np.where(np.isnan(labels), means, labels)
    if target.stacker == "binary":
        signal = sqrt(2) * special.ndtri(TYPICAL_AREA)
        rates = np.clip(means, 1e-3, 1 - 1e-3)
        return target.predict(signal * (signal * labels + noise) - signal**2 / 2 + np.log(rates / (1 - rates)))
    deviation = np.sqrt(np.where(known, (all_labels - means) ** 2, 0).sum(0) / np.maximum(known.sum(0), 1))
    # The best prediction from a noisy view of the label, whose share of true variance is R².
    view = labels + deviation * sqrt(1 / TYPICAL_R2 - 1) * noise
    return target.normalized(means + TYPICAL_R2 * (view - means))


@functools.cache
def signal_of(classes: int) -> float:
    """Return the mean logit of the true class at which the accuracy is 90 %.

    Logits of other classes have the mean 0.
    """
    from scipy import optimize

    points = np.linspace(-8, 16, 2001)
    others = special.log_ndtr(points) * (classes - 1)

    def accuracy(signal: float) -> float:
        density = np.exp(-((points - signal) ** 2) / 2 + others) / sqrt(2 * np.pi)
        return float(density.sum() * (points[1] - points[0]))

    return float(optimize.brentq(lambda signal: accuracy(signal) - TYPICAL_ACCURACY, 0.0, 10.0, xtol=1e-6))
