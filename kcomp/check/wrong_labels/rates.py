"""Estimate how uncertain the share of wrong labels is, and average over probable shares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Shares at which a mixture is fitted. They are denser where the likelihood of few rows changes most.
RATES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.49)
PRIOR = 19  # the share has the prior density (1 - share) ** 19 (a beta distribution), whose mean is 5 %
DEVIANCE = 3.841  # 95 % quantile of the chi-squared distribution with one degree of freedom


@dataclass(frozen=True)
class Profile:
    """The best fits of a mixture with the share of its second component fixed, in ascending order of the share.

    Attributes:
        rates: The shares, (shares,).
        losses: The negative log likelihood of each fit, (shares,).
        values: The parameters of each fit except the share, (shares, parameters).
    """

    rates: np.ndarray
    losses: np.ndarray
    values: np.ndarray

    def interval(self) -> tuple[float, float]:
        """Return the two ends of the 95 % interval of the share of wrong labels, by likelihood ratio (Wilks 1938)."""
        roots = np.sqrt(2 * np.maximum(self.losses - self.losses.min(), 0))
        best, limit = int(self.losses.argmin()), float(np.sqrt(DEVIANCE))
        low = np.interp(-limit, -roots[: best + 1], self.rates[: best + 1])
        high = np.interp(limit, roots[best:], self.rates[best:])
        return float(low), float(high)

    def average(self, function: Callable[[float, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the mean of a function of the share and the other parameters, weighted by the probability of each fit.

        The weight of a fit is likelihood * prior density * half the distance between the neighbouring shares.
        """
        widths = np.diff(np.concatenate([self.rates[:1], (self.rates[1:] + self.rates[:-1]) / 2, self.rates[-1:]]))
        weights = np.exp(self.losses.min() - self.losses) * (1 - self.rates) ** PRIOR * widths
        weights /= weights.sum()
        fits = zip(weights, self.rates, self.values, strict=True)
        terms = [weight * function(float(rate), values) for weight, rate, values in fits if weight > 1e-6]
        return np.sum(terms, axis=0)


def profile_of(
    loss: Callable[[np.ndarray, float], float],
    starts: Sequence[np.ndarray],
    bounds: list[tuple[float, float]],
    rate: float,
) -> Profile:
    """Return the best fits at several fixed shares, one of which is `rate`.

    Args:
        loss: Takes the parameters except the share, and the share. Returns the negative log likelihood.
        starts: Start values of these parameters.
        bounds: Lower and upper bound of each of these parameters.
        rate: The share with the greatest likelihood.
    """
    from scipy import optimize

    rates = np.unique(np.append(RATES, rate))
    losses, values = [], []
    for each in rates.tolist():
        start = min(starts, key=lambda begin: loss(begin, each))  # called at once
        fit = optimize.minimize(loss, start, (each,), method="Nelder-Mead", bounds=bounds)
        losses.append(float(fit.fun))
        values.append(fit.x)
    return Profile(rates, np.array(losses), np.array(values))
