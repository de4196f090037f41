"""Suggest a learning rate from the losses of a range test."""

from dataclasses import dataclass

import numpy as np

SMOOTHING = 0.9  # weight of the earlier losses in the moving average
DIVERGED = 4.0  # the test stops when the smoothed loss is this many times its lowest value
WINDOW = 8  # steps on each side over which the slope of the loss is measured
FALL = 0.02  # share of the first loss by which the loss must fall, or there is no suggestion


@dataclass(frozen=True)
class Suggestion:
    """A learning rate for a stage, with the rates from which it is derived.

    Attributes:
        rate: The suggested highest rate of a schedule: a tenth of `lowest`. None if the loss did not fall.
        lowest: The rate at which the smoothed loss is lowest.
        steepest: The rate at which the smoothed loss falls most steeply.
        at_end: Whether the loss was still falling at the highest rate of the test.
    """

    rate: float | None
    lowest: float
    steepest: float
    at_end: bool


def smooth(losses: np.ndarray) -> np.ndarray:
    """Return the exponential moving average of losses, (steps,), with Adam's bias correction."""
    average, averages = 0.0, np.empty(len(losses))
    for number, loss in enumerate(losses):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        averages[number] = average / (1 - SMOOTHING ** (number + 1))
    return averages


def has_diverged(losses: np.ndarray) -> bool:
    """Return whether the last of these losses, (steps,), is not finite, or so high that the test should end."""
    if not np.isfinite(losses[-1]):
        return True
    averages = smooth(losses)
    low = averages.min()
    scale = abs(low) if low > 0 else max(abs(low), abs(averages[0]))
    return bool(averages[-1] - low > (DIVERGED - 1) * scale)


def suggest(rates: np.ndarray, losses: np.ndarray) -> Suggestion:
    """Suggest a learning rate from the losses of a range test.

    Args:
        rates: The rate of each step, (steps,). It rises by the same factor in each step.
        losses: The finite loss of each step, (steps,).
    """
    averages = smooth(losses)
    start = min(WINDOW, len(averages) - 1)  # the first averages are of few losses
    best = start + int(averages[start:].argmin())
    first, last = np.arange(best + 1) - WINDOW, np.arange(best + 1) + WINDOW
    first, last = np.maximum(first, 0), np.minimum(last, len(averages) - 1)
    slopes = (averages[last] - averages[first]) / np.maximum(last - first, 1)
    steepest = min(start, best) + int(slopes[min(start, best) :].argmin())
    first_loss = averages[: start + 1].mean()
    falls = first_loss - averages[best] > FALL * abs(first_loss)
    lowest = float(rates[best])
    return Suggestion(lowest / 10 if falls else None, lowest, float(rates[steepest]), best == len(averages) - 1)
