"""Estimate which labels are wrong, from predictions of a model that did not learn from these labels.

A mixture of two components is fitted: correct labels, and random labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kcomp.check.wrong_labels.rates import Profile, profile_of
from kcomp.targets import arrays

SMALLEST = 1e-300  # densities are raised to this before their logarithm is computed
LOWEST, HIGHEST = 1e-6, 0.49  # of the share of wrong labels
FACTOR_DEVIATION = 0.7  # of the logarithm: the expected factor may be wrong by about 2
Densities = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # of each label, if it is correct and if it is wrong
FREEDOM = (2.0, 100.0)  # range of the degrees of freedom of Student's t distribution


@dataclass(frozen=True)
class LabelErrors:
    """The estimated share of wrong labels, and the probability that each label is wrong.

    Attributes:
        rate: The estimated share of wrong labels, at least 0 and below 0.5.
        interval: The two ends of the 95 % interval of the share.
        p_value: The probability of such predictions if no label is wrong.
        wrong: The probability that each row's label is wrong, (rows,). It is averaged over the probable shares.
        doubt: log(density of the label if it is wrong / density if it is correct), (rows,).
        probabilities: The predicted probability of each class, (rows, classes). There are 0 classes for numbers.
    """

    rate: float
    interval: tuple[float, float]
    p_value: float
    wrong: np.ndarray
    doubt: np.ndarray
    probabilities: np.ndarray


def class_errors(scores: np.ndarray, classes: np.ndarray) -> LabelErrors:
    """Estimate the probability that each class label is wrong.

    P(label k) = (1 - rate) * q(k) + rate * (1 - q(k)) / (K - 1), where q = softmax(factor * scores), and K is the
    number of classes. The rate and the factor maximise the likelihood. This is confident learning (Northcutt et al.
    2021) with one rate for all pairs of classes and a calibrated predictor.

    Args:
        scores: A score or log probability of each class, (rows, classes). The predictor did not see the row's label.
        classes: The class of each row's label, int (rows,).
    """
    rows, others = np.arange(len(scores)), scores.shape[1] - 1

    def densities(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = arrays.softmax(scores * np.exp(values[0]))[rows, classes]
        return own, (1 - own) / others

    expected = expected_factor(scores, classes)

    def penalty(values: np.ndarray) -> float:
        return (max(expected - values[0], 0.0) / FACTOR_DEVIATION) ** 2 / 2

    starts = ([0.0], [1.5], [3.0], [min(max(expected, -6.0), 6.0)])
    mixture = fit_mixture(densities, starts, [(-6.0, 6.0)], penalty)
    return errors_of(mixture, densities, arrays.softmax(scores * np.exp(mixture.values[0])))


def expected_factor(scores: np.ndarray, classes: np.ndarray) -> float:
    """Return the logarithm of the factor that turns scores into logits if the scores are normally distributed.

    The factor of a class is (m - n) / d**2 (linear discriminant analysis). m is the median score of the class in its
    own rows, and n is the median in other rows. d is the larger standard deviation of the two. The result is the
    logarithm of the least factor of all classes, or minus infinity if a factor is not positive.
    """
    factors = []
    for number, column in enumerate(scores.T):
        own, other = column[classes == number], column[classes != number]
        difference = float(np.median(own) - np.median(other))
        factors.append(difference / max(robust_deviation(own), robust_deviation(other)) ** 2)
    if scores.shape[1] == 2:  # the score of the other class falls by as much
        factors = [factor / 2 for factor in factors]
    return float(np.log(min(factors))) if min(factors) > 0 else -np.inf


def number_errors(predictions: np.ndarray, labels: np.ndarray) -> LabelErrors:
    """Estimate the probability that each label of a regression target is wrong.

    Residuals of correct labels have a scaled Student's t distribution around 0 (Lange et al. 1989). A wrong label has a
    Cauchy distribution around the median of the labels.

    Args:
        predictions: A prediction for each row, (rows,). The predictor did not see the row's label.
        labels: The label of each row, (rows,).
    """
    from scipy import stats

    residuals = labels - predictions
    middle, spread = float(np.median(labels)), robust_deviation(labels)
    scale = robust_deviation(residuals)
    wide = stats.cauchy.pdf(labels, middle, spread)

    def densities(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return stats.t.pdf(residuals, np.exp(values[1]), 0, scale * np.exp(values[0])), wide

    bounds = [(-4.0, 4.0), (float(np.log(FREEDOM[0])), float(np.log(FREEDOM[1])))]
    mixture = fit_mixture(densities, ([0.0, 1.5], [-0.5, 3.0]), bounds)
    return errors_of(mixture, densities, np.zeros((len(labels), 0)))


@dataclass(frozen=True)
class Mixture:
    """A mixture of two components, fitted by maximum likelihood.

    Attributes:
        rate: The share of the second component.
        p_value: The probability of a likelihood ratio at least as large if the share is 0.
        values: The parameters except the share.
        profile: The best fits at several fixed shares.
    """

    rate: float
    p_value: float
    values: np.ndarray
    profile: Profile


def errors_of(mixture: Mixture, densities: Densities, probabilities: np.ndarray) -> LabelErrors:
    """Return the `LabelErrors` of a fitted mixture of correct and wrong labels."""

    def wrong(rate: float, values: np.ndarray) -> np.ndarray:
        own, other = (np.maximum(each, SMALLEST) for each in densities(values))
        result: np.ndarray = rate * other / ((1 - rate) * own + rate * other)
        return result

    own, other = (np.maximum(each, SMALLEST) for each in densities(mixture.values))
    return LabelErrors(
        rate=mixture.rate,
        interval=mixture.profile.interval(),
        p_value=mixture.p_value,
        wrong=mixture.profile.average(wrong),
        doubt=np.log(other / own),
        probabilities=probabilities,
    )


def fit_mixture(
    densities: Densities,
    starts: tuple[list[float], ...],
    bounds: list[tuple[float, float]],
    penalty: Callable[[np.ndarray], float] = lambda values: 0.0,
) -> Mixture:
    """Fit the share of the second component of a mixture by maximum likelihood, and test whether it is zero.

    The test is the likelihood ratio test for a parameter on the edge of its range (Self and Liang 1987, case 5).

    Args:
        densities: Takes the parameters except the share. Returns the density of each label in the first component,
            (rows,), and in the second component, (rows,).
        starts: Start values of these parameters.
        bounds: Lower and upper bound of each of these parameters.
        penalty: Takes these parameters. Returns a number that is added to the negative log likelihood.
    """
    from scipy import optimize, stats

    def loss(values: np.ndarray, rate: float) -> float:
        own, other = densities(values)
        return penalty(values) - float(np.log(np.maximum((1 - rate) * own + rate * other, SMALLEST)).sum())

    def best(function: Callable[[np.ndarray], float], begin: list[list[float]], limits: list[tuple[float, float]]):
        fits = [optimize.minimize(function, start, method="Nelder-Mead", bounds=limits) for start in begin]
        return min(fits, key=lambda fit: fit.fun)

    null = best(lambda values: loss(values, 0.0), list(starts), bounds)
    rates = (float(arrays.log_odds(np.array(LOWEST))), float(arrays.log_odds(np.array(HIGHEST))))
    begin = [[*start, rate] for start in (*starts, null.x) for rate in (-6.0, -3.0)]
    full = best(lambda values: loss(values[:-1], float(arrays.sigmoid(values[-1:])[0])), begin, [*bounds, rates])
    ratio = max(2 * (null.fun - full.fun), 0.0)
    rate, p_value, values = 0.0, 1.0, null.x
    if ratio > 0:
        rate, values = float(arrays.sigmoid(full.x[-1:])[0]), full.x[:-1]
        p_value = float(stats.chi2.sf(ratio, 1) / 2)
    return Mixture(rate, p_value, values, profile_of(loss, (null.x, values), bounds, rate))


def robust_deviation(values: np.ndarray) -> float:
    """Return the median absolute deviation, scaled to the standard deviation of a normal distribution.

    If it is 0, return the standard deviation. If that is 0 too, return 1.
    """
    from scipy import stats

    deviation = float(stats.median_abs_deviation(values, scale="normal"))
    return deviation or float(values.std()) or 1.0
