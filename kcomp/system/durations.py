"""Read durations such as "10min" and "8h30m"."""

import re

SECONDS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
FORM = re.compile(r"(?:(\d+(?:\.\d+)?)\s*(h|min|m|s)\s*)+")
PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration: numbers with the units h, min (or m) and s.

    Raises:
        ValueError: If the text has another form, or the duration is zero.

    Examples:
        >>> from kcomp.system.durations import parse_duration
        >>> parse_duration("10min"), parse_duration("8h30m"), parse_duration("1.5 h")
        (600.0, 30600.0, 5400.0)
    """
    seconds = sum(float(number) * SECONDS[unit] for number, unit in PART.findall(text))
    if not FORM.fullmatch(text.strip()) or not seconds:
        raise ValueError(f"a duration is a number with a unit, such as 90s, 10min or 8h30m; received {text!r}")
    return seconds
