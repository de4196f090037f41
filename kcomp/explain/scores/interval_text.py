"""Write an interval as text for the page."""

import math

from kcomp.metrics.significance import Interval
from kcomp.report.text import number


def interval_text(interval: Interval) -> str:
    """Return a value with its interval, such as "0.91 (95 % interval 0.89 to 0.93)"."""
    if math.isnan(interval.low):
        return number(interval.mean)
    return f"{number(interval.mean)} (95 % interval {number(interval.low)} to {number(interval.high)})"
