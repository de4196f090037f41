"""Write numbers as text."""

import math


def quantity(count: int, noun: str) -> str:
    """Return a number with its noun, such as "1 run" or "3,000 runs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number(value: float) -> str:
    """Return a number with four significant digits as text. Numbers from 10,000 have all digits. NaN becomes "-"."""
    if math.isnan(value):
        return "-"
    value += 0.0  # so that -0.0 becomes 0.0
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def file_size(count: int) -> str:
    """Return a number of bytes, such as "512 bytes", "1.5 KiB" or "3.0 GiB"."""
    if count < 1024:
        return quantity(count, "byte")
    size, units = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1023.95 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:,.1f} {units[0]}"


def percent(share: float) -> str:
    """Return a share as percent text, such as "12.3 %". NaN becomes "-"."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
