"""Find how well a share of wrong labels is known: its interval, and probabilities that include this uncertainty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Shares at which a mixture is fitted. They are denser where the likelihood of few rows changes most.
RATES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.49)
PRIOR = 19  # the share has the prior density (1 - share) ** 19 (a beta distribution), whose mean is 5 %
DEVIANCE = 3.841  # 95 % quantile of the chi-squared distribution with one degree of freedom


@dataclass(frozen=True)
class Profile:
    """The best fit of a mixture at each of several shares of its second component, in ascending order.

    Attributes:
        rates: The shares, (shares,).
        losses: The negative log likelihood of each fit, (shares,).
        values: The other parameters of each fit, (shares, parameters).
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
        """Return the mean of a function of the share and the other parameters, weighted by how probable each fit is.

        The weight of a fit is its likelihood, times the prior density, times half the distance of its neighbours.
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
    """Return the best fit at each of several shares, and at the share of the best fit.

    Args:
        loss: Takes the other parameters and the share. Returns the negative log likelihood.
        starts: Start values of the other parameters.
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
