"""Pictures of a search, as PNG files in bytes: from ranges and finished trials alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.report.plots import COLOURS, GREY, canvas, png
from kcomp.space import Choice, LogUniform, Range
from kcomp.values import as_text


@dataclass(frozen=True)
class Point:
    """A finished trial. score: of a complete one; of a pruned one what it had reached, None where that is nothing.
    curve: (fold's position, epoch, mean score so far) of each epoch."""

    number: int
    values: Mapping[str, Any]
    score: float | None
    complete: bool
    curve: Sequence[tuple[int, int, float]] = ()


def history_picture(points: Sequence[Point], metric: str, *, lower: bool) -> bytes:
    """Above, each trial's score and the best so far; below, the scores by epoch."""
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
    figure, axes = canvas(1, 1.0 + 0.4 * len(importances))
    axis = axes[0, 0]
    axis.barh(list(importances), list(importances.values()), color=COLOURS[0], alpha=0.8)
    axis.invert_yaxis()
    axis.set_title("Share of each value in what moves the score (PED-ANOVA)", loc="left")
    return png(figure)


def slice_picture(points: Sequence[Point], ranges: Mapping[str, Range], metric: str) -> bytes:
    """The scores of complete trials against each value by itself; later trials are darker."""
    figure, axes = canvas(len(ranges), 0.4 + 2.3 * len(ranges))
    shades = np.linspace(0.25, 1.0, max(1, len(points)))
    for axis, (name, found) in zip(axes[:, 0], ranges.items(), strict=True):
        places = [place(found, point.values[name]) for point in points]
        axis.scatter(places, [point.score for point in points], color=COLOURS[0], alpha=shades, s=22)
        label_ticks(axis.set_xticks, found)
        axis.set_xlim(-0.03, 1.03)
        axis.set_title(name, loc="left")
        axis.set_ylabel(metric)
    return png(figure)


def parallel_picture(points: Sequence[Point], ranges: Mapping[str, Range], metric: str, *, lower: bool) -> bytes:
    """A line for each complete trial across its values to its score; the best tenth, at least three, stand out."""
    figure, axes = canvas(1, 4.4)
    axis, columns = axes[0, 0], [*ranges, metric]
    scores = np.array([point.score for point in points], np.float64)
    low, high = scores.min(), scores.max()
    ranks = np.argsort(np.argsort(scores if lower else -scores, kind="stable"), kind="stable")
    for point, score, rank in zip(points, scores, ranks, strict=True):
        heights = [place(found, point.values[name]) for name, found in ranges.items()]
        heights.append(float((score - low) / (high - low)) if high > low else 0.5)
        good = rank < max(3, len(points) // 10)
        axis.plot(range(len(columns)), heights, color=COLOURS[1] if good else GREY, linewidth=1.8 if good else 0.8,
                  alpha=0.95 if good else 0.5, zorder=3 if good else 2)  # fmt: skip
    for column, found in enumerate([*ranges.values(), None]):
        marks = [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if found is None else ticks(found)
        for height, text in marks:
            axis.annotate(text, (column, height), (4, 0), textcoords="offset points", fontsize=7, va="center")
    axis.set_xticks(range(len(columns)), columns)
    axis.set_xlim(-0.2, len(columns) - 0.6)
    axis.set_yticks([])
    axis.grid(axis="x", color="#333333")
    axis.set_title(f"Complete trials; the {min(len(points), max(3, len(points) // 10))} best stand out", loc="left")
    return png(figure)


def place(found: Range, value: Any) -> float:
    """Where a value lies in its range: 0 at the low end, 1 at the high one."""
    if isinstance(found, Choice):
        return found.values.index(value) / (len(found.values) - 1)
    if isinstance(found, LogUniform):
        return math.log(value / found.low) / math.log(found.high / found.low)
    return (value - found.low) / (found.high - found.low)


def ticks(found: Range) -> list[tuple[float, str]]:
    """Places and texts of a few values of a range."""
    if isinstance(found, Choice):
        return [(place(found, value), as_text(value)) for value in found.values]
    if isinstance(found, LogUniform):
        values = np.geomspace(found.low, found.high, 5)
    else:
        values = np.linspace(found.low, found.high, 5)
    if not isinstance(found.low, int) or not isinstance(found.high, int) or isinstance(found, LogUniform):
        return [(place(found, value), f"{value:.3g}") for value in values]
    return [(place(found, value), str(value)) for value in sorted({round(value) for value in values})]


def label_ticks(setter: Any, found: Range) -> None:
    setter(*zip(*ticks(found), strict=True))
