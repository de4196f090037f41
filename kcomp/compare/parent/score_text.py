"""Convert scores and their differences to texts with enough digits."""

import math
from collections.abc import Sequence

DECIMALS, MOST_DECIMALS = 4, 12  # numbers that need more than 12 decimals are written as 1.2e-13
CAPITALS = ("auc", "f1", "mae", "r2", "rmse", "roc")


def metric_words(name: str) -> str:
    """Return a metric's name as in a sentence: "roc_auc" becomes "ROC AUC", and "log_loss" becomes "log loss"."""
    return " ".join(word.upper() if word in CAPITALS else word for word in name.split("_"))


def decimals(values: Sequence[float], digits: int = 2) -> int:
    """Return how many decimals to write, at least 4, so that the nonzero value nearest to 0 has `digits` significant
    digits.
    """
    rounded = [f"{value:.{digits - 1}e}" for value in values if value and math.isfinite(value)]
    return max([DECIMALS, *(digits - 1 - int(text.partition("e")[2]) for text in rounded)])


def plain(value: float, places: int = DECIMALS) -> str:
    """Return a number as text with `places` decimals, or a dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:.{places}f}" if places <= MOST_DECIMALS else f"{value:.1e}"


def signed(value: float, places: int = DECIMALS) -> str:
    """Return a number as text with its sign and `places` decimals, without a sign if it rounds to zero."""
    text = plain(abs(value), places)
    if math.isnan(value) or is_zero(value, places):
        return text
    return f"{'+' if value > 0 else '-'}{text}"


def is_zero(value: float, places: int) -> bool:
    return round(abs(value), places) == 0


def direction_words(difference: float, higher_is_better: bool) -> str:
    quality = "better" if (difference > 0) == higher_is_better else "worse"
    return f"{'higher' if difference > 0 else 'lower'} ({quality})"
