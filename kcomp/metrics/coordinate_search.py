"""Maximize a function of several numbers by changing one number at a time."""

from collections.abc import Callable, Sequence

import numpy as np

MAX_SWEEPS = 20  # rounds over all coordinates at most; the search ends earlier if a round improves nothing
MIN_GAIN = 1e-9  # smaller improvements of the metric are rounding


def coordinate_search(
    start: Sequence[float],
    candidates: Sequence[np.ndarray],
    score: Callable[[tuple[float, ...]], float],
    *,
    ascending: bool = False,
) -> tuple[float, ...]:
    """Maximize a function of several numbers (coordinates). One coordinate changes at a time, until no change helps.

    Args:
        start: The first value of each coordinate.
        candidates: For each coordinate, the values to try.
        score: The function to maximize. It takes all coordinates.
        ascending: Whether the coordinates must stay in ascending order.

    Returns:
        The best coordinates.
    """
    values = [float(value) for value in start]
    best = score(tuple(values))
    for _ in range(MAX_SWEEPS):
        before = best
        for position, choices in enumerate(candidates):
            low = values[position - 1] if ascending and position else -np.inf
            high = values[position + 1] if ascending and position + 1 < len(values) else np.inf
            for choice in choices[(choices >= low) & (choices <= high)]:
                trial = (*values[:position], float(choice), *values[position + 1 :])
                if (value := score(trial)) > best + MIN_GAIN:
                    best, values = value, list(trial)
        if best <= before + MIN_GAIN:
            break
    return tuple(values)
