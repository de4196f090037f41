"""Write numbers and intervals as texts for the page."""

import math

from kcomp.metrics.significance import Interval


def number(value: float) -> str:
    """Return a number with four significant digits, and "-" for NaN. Numbers from 10,000 have all digits."""
    if math.isnan(value):
        return "-"
    value += 0.0  # so that -0.0 becomes 0.0
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as percent, such as "12.3 %", and "-" for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def interval_text(interval: Interval) -> str:
    """Return a value with its interval, such as "0.91 (95 % interval 0.89 to 0.93)"."""
    if math.isnan(interval.low):
        return number(interval.mean)
    return f"{number(interval.mean)} (95 % interval {number(interval.low)} to {number(interval.high)})"
