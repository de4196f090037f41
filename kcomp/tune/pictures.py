"""Draw the pictures of a search for good values, as the bytes of PNG files.

A trial is one set of values. A range is what the search may choose from, such as `space.Uniform(0, 1)`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.report.canvas import COLOURS, GREY, canvas, png
from kcomp.space import Choice, LogUniform, Range
from kcomp.values import as_text


@dataclass(frozen=True)
class Point:
    """What the pictures show of a finished trial.

    Attributes:
        number: The number of the trial, from 0.
        values: The values of the trial, by name.
        score: The score of a complete trial, or the last score of a pruned trial (one that was stopped early), or None.
        complete: Whether the trial was trained to its end.
        curve: For each trained epoch: position of the fold in the search, epoch, and mean score of the folds so far.
    """

    number: int
    values: Mapping[str, Any]
    score: float | None
    complete: bool
    curve: Sequence[tuple[int, int, float]] = ()


def history_picture(points: Sequence[Point], metric: str, *, lower: bool) -> bytes:
    """Plot two things: the score of each trial with the best score so far, and the scores of each trial by epoch.

    `lower` says whether lower scores are better.
    """
    figure, axes = canvas(2, 6.4)
    top, bottom = axes[:, 0]
    complete = [point for point in points if point.complete]
    pruned = [point for point in points if not point.complete and point.score is not None]
    top.plot([point.number for point in complete], [point.score for point in complete], "o", color=COLOURS[0],
             label="complete")  # fmt: skip
    top.plot([point.number for point in pruned], [point.score for point in pruned], "x", color=GREY, label="pruned")
    best = (np.minimum if lower else np.maximum).accumulate([point.score or 0.0 for point in complete])
    top.step([point.number for point in complete], best, where="post", color=COLOURS[1], label="best so far")
    top.set_xlabel("trial")
    top.set_title(f"{metric} of each trial", loc="left")
    top.legend(fontsize=8)
    for point in points:
        for position in sorted({place for place, _, _ in point.curve}):
            rows = [(epoch, score) for place, epoch, score in point.curve if place == position]
            colour = COLOURS[position % len(COLOURS)] if point.complete else GREY
            bottom.plot(*zip(*rows, strict=True), ".-", color=colour, linewidth=1, markersize=4, alpha=0.7)
    bottom.set_xlabel("epoch")
    bottom.set_title("By epoch: the mean over the folds so far, a colour for each fold; grey was pruned", loc="left")
    for axis in (top, bottom):
        axis.set_ylabel(metric)
        axis.xaxis.get_major_locator().set_params(integer=True)
    return png(figure)


def importance_picture(importances: Mapping[str, float]) -> bytes:
    """Draw a bar for each recipe value: how much it influences the score, as a share of 1."""
    figure, axes = canvas(1, 1.0 + 0.4 * len(importances))
    axis = axes[0, 0]
    axis.barh(list(importances), list(importances.values()), color=COLOURS[0], alpha=0.8)
    axis.invert_yaxis()
    axis.set_title("How much each value influences the score (PED-ANOVA)", loc="left")
    return png(figure)


def slice_picture(points: Sequence[Point], ranges: Mapping[str, Range], metric: str) -> bytes:
    """Plot the score against each searched value, with a point for each complete trial. Later trials are darker."""
    figure, axes = canvas(len(ranges), 0.4 + 2.3 * len(ranges))
    shades = np.linspace(0.25, 1.0, max(1, len(points)))
    for axis, (name, range_) in zip(axes[:, 0], ranges.items(), strict=True):
        places = [place(range_, point.values[name]) for point in points]
        axis.scatter(places, [point.score for point in points], color=COLOURS[0], alpha=shades, s=22)
        label_ticks(axis.set_xticks, range_)
        axis.set_xlim(-0.03, 1.03)
        axis.set_title(name, loc="left")
        axis.set_ylabel(metric)
    return png(figure)


def parallel_picture(points: Sequence[Point], ranges: Mapping[str, Range], metric: str, *, lower: bool) -> bytes:
    """Draw a parallel coordinate plot: a complete trial is a line through its values to its score.

    The best tenth of the trials has thicker lines in another colour. `lower` says whether lower scores are better.
    """
    figure, axes = canvas(1, 4.4)
    axis, columns = axes[0, 0], [*ranges, metric]
    scores = np.array([point.score for point in points], np.float64)
    low, high = scores.min(), scores.max()
    ranks = np.argsort(np.argsort(scores if lower else -scores, kind="stable"), kind="stable")
    for point, score, rank in zip(points, scores, ranks, strict=True):
        heights = [place(range_, point.values[name]) for name, range_ in ranges.items()]
        heights.append(float((score - low) / (high - low)) if high > low else 0.5)
        good = rank < max(3, len(points) // 10)
        axis.plot(range(len(columns)), heights, color=COLOURS[1] if good else GREY, linewidth=1.8 if good else 0.8,
                  alpha=0.95 if good else 0.5, zorder=3 if good else 2)  # fmt: skip
    for column, range_ in enumerate([*ranges.values(), None]):
        marks = [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if range_ is None else ticks(range_)
        for height, text in marks:
            axis.annotate(text, (column, height), (4, 0), textcoords="offset points", fontsize=7, va="center")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_xlim(-0.2, len(columns) - 0.6)
    axis.set_yticks([])
    axis.grid(axis="x", color="#333333")
    axis.set_title(f"Complete trials; the {min(len(points), max(3, len(points) // 10))} best stand out", loc="left")
    return png(figure)


def place(range_: Range, value: Any) -> float:
    """Return the position of a value in its range, from 0 to 1. The scale is logarithmic for `space.LogUniform`."""
    if isinstance(range_, Choice):
        return range_.values.index(value) / (len(range_.values) - 1)
    if isinstance(range_, LogUniform):
        return math.log(value / range_.low) / math.log(range_.high / range_.low)
    return (value - range_.low) / (range_.high - range_.low)


def ticks(range_: Range) -> list[tuple[float, str]]:
    """Return a few values of a range for an axis, as pairs (position from 0 to 1, text)."""
    if isinstance(range_, Choice):
        return [(place(range_, value), as_text(value)) for value in range_.values]
    if isinstance(range_, LogUniform):
        values = np.geomspace(range_.low, range_.high, 5)
    else:
        values = np.linspace(range_.low, range_.high, 5)
    if not isinstance(range_.low, int) or not isinstance(range_.high, int) or isinstance(range_, LogUniform):
        return [(place(range_, value), f"{value:.3g}") for value in values]
    return [(place(range_, value), str(value)) for value in sorted({round(value) for value in values})]


def label_ticks(setter: Any, range_: Range) -> None:
    """Label an axis with values of a range. `setter` is the axis's method `set_xticks` or `set_yticks`."""
    setter(*zip(*ticks(range_), strict=True))
