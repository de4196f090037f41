"""Describe a learning rate range test in words, and write its files."""

from pathlib import Path

import pandas as pd

from kcomp.find_rate.measure import HIGHEST, LOWEST, STEPS, RangeTest
from kcomp.find_rate.suggestion import DIVERGED, Suggestion, smooth
from kcomp.report.rate_plot import draw_rate_test
from kcomp.system.files import write_together


def describe(test: RangeTest, suggestion: Suggestion) -> list[str]:
    """Return the lines to print: the range of tested rates, the suggested rate, and the recipe's rate."""
    count = len(test.rates)
    lines = [f"stage {test.stage!r}: {count} steps at rates from {LOWEST:.0e} to {test.rates[-1]:.1e}"]
    if test.became_infinite:
        lines[0] += "; at the next rate, the loss was NaN or infinite"
    elif count < STEPS:
        lines[0] += f", where the loss was above {DIVERGED:g} times its lowest value"
    if suggestion.rate is None:
        return [*lines, "no suggestion: the loss does not fall at any of these rates; check the data and the loss"]
    reason = "the loss is lowest, because at higher rates it grows"
    if suggestion.at_end and test.became_infinite:
        reason = "the last finite loss lies"
    elif suggestion.at_end:
        reason = f"the test ends; the loss still falls there, so rates up to {HIGHEST:g} may work"
    return [
        *lines,
        f"suggested highest rate: {suggestion.rate:.1e}, a tenth of {suggestion.lowest:.1e}, where {reason}",
        f"the loss falls steepest at {suggestion.steepest:.1e}; in the recipe, the highest rate of this stage is "
        f"{test.recipe_rate:.1e}",
    ]


def write_report(folder: Path, test: RangeTest, suggestion: Suggestion) -> Path:
    """Write find-rate.png (a plot) and rates.csv (the columns rate, loss and smoothed). Return the path of the plot."""
    averages = smooth(test.losses)
    table = pd.DataFrame({"rate": test.rates, "loss": test.losses, "smoothed": averages})
    lines = {"steepest fall": suggestion.steepest, "lowest loss": suggestion.lowest}
    if suggestion.rate is not None:
        lines = {"suggested": suggestion.rate, **lines}
    picture = draw_rate_test(test.rates, test.losses, averages, lines)
    write_together(folder, {"rates.csv": table.to_csv(index=False).encode(), "find-rate.png": picture})
    return folder / "find-rate.png"
