"""Draw the plots of report pages. Each function returns a PNG file. NaN is left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kcomp.report.canvas import (
    COLOURS,
    DASHES,
    GREY,
    INK,
    canvas,
    colour_of,
    dashes_of,
    empty,
    label,
    legend,
    numbers,
    png,
)

MOST_NAMES = 60  # bars or points in one plot; the others are left out
MOST_NUMBERS = 15  # a larger matrix shows no numbers in its cells
MOST_DOTS = 3000  # a scatter plot of more rows shows how many lie in each small area


def bars(
    names: Sequence[str],
    values: ArrayLike,
    *,
    xlabel: str,
    notes: Sequence[str] = (),
    intervals: ArrayLike | None = None,
    reference: float | None = None,
) -> bytes:
    """Draw a horizontal bar for each name, the first on top.

    Args:
        names: The names, such as classes. Only the first 60 are shown.
        values: The length of each bar.
        xlabel: The label of the x axis.
        notes: A text to the right of each bar, such as a count. Empty for none.
        intervals: The lower and upper end of each bar's interval, (names, 2).
        reference: The position of a dashed vertical line.
    """
    figure, axis, count = name_rows(names, xlabel)
    lengths = numbers(values)[:count]
    axis.barh(np.arange(count), lengths, color=COLOURS[0], height=0.7)
    if intervals is not None:
        draw_intervals(axis, numbers(intervals)[:count], INK, width=1.2)
    finish_rows(axis, lengths, notes, reference)
    return png(figure)


def points(
    names: Sequence[str],
    values: ArrayLike,
    intervals: ArrayLike,
    *,
    xlabel: str,
    notes: Sequence[str] = (),
    reference: float | None = None,
) -> bytes:
    """Draw a point and its interval for each name, such as the score of each slice.

    The arguments are those of `bars`.
    """
    figure, axis, count = name_rows(names, xlabel)
    places = numbers(values)[:count]
    draw_intervals(axis, numbers(intervals)[:count], COLOURS[0], width=2.5)
    axis.plot(places, np.arange(count), "o", color=COLOURS[0])
    finish_rows(axis, places, notes, reference)
    return png(figure)


def name_rows(names: Sequence[str], xlabel: str) -> tuple[Any, Any, int]:
    """Create a plot with a y position for each name.

    Return three things: figure, axes, and the number of shown names.
    """
    count = min(len(names), MOST_NAMES)
    figure, axes = canvas(1, 0.8 + 0.25 * max(count, 3))
    axis = axes[0, 0]
    axis.set_yticks(np.arange(count), [label(name) for name in names[:count]])
    axis.set_ylim(max(count, 1) - 0.4, -0.6)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(xlabel if count == len(names) else f"{xlabel} (the first {count} of {len(names)})")
    return figure, axis, count


def draw_intervals(axis: Any, ends: np.ndarray, colour: str, *, width: float) -> None:
    axis.hlines(np.arange(len(ends)), ends[:, 0], ends[:, 1], color=colour, linewidth=width)


def finish_rows(axis: Any, values: np.ndarray, notes: Sequence[str], reference: float | None) -> None:
    """Write the notes at the right edge, and draw the reference line at this x position."""
    if not np.isfinite(values).any():
        empty(axis)
    if reference is not None:
        axis.axvline(reference, color=INK, linewidth=1, linestyle="--")
    for row, note in enumerate(notes[: len(values)]):
        axis.annotate(
            label(note), (1.01, row), xycoords=("axes fraction", "data"), va="center", color="#5b6472", fontsize=8
        )


def histogram(
    groups: Mapping[str, ArrayLike], *, xlabel: str, bins: int = 40, lines: Mapping[str, float] | None = None
) -> bytes:
    """Draw a histogram of one group, or overlaid histograms of several groups.

    Args:
        groups: The values of each group, by the name of the group. The y axis shows counts for one group, and shares
            for several.
        xlabel: The label of the x axis.
        bins: The number of bins. Whole numbers with a range of at most 60 have one bin each instead.
        lines: Positions of dashed vertical lines by name, such as a threshold.
    """
    figure, axes = canvas(1, 2.8)
    axis = axes[0, 0]
    finite = {
        name: array[np.isfinite(array)] for name, array in ((name, numbers(group)) for name, group in groups.items())
    }
    edges = bin_edges(np.concatenate([*finite.values(), []]), bins)
    several = len(groups) > 1
    handles = []
    for number, (name, values) in enumerate(finite.items()):
        weights = np.full(len(values), 1 / max(1, len(values)) if several else 1.0)
        heights, _ = np.histogram(values, edges, weights=weights)
        style = {"color": colour_of(number), "linestyle": dashes_of(number)}
        axis.stairs(heights, edges, fill=True, alpha=0.25 if several else 0.8, color=style["color"])
        handles.append((axis.stairs(heights, edges, linewidth=1.5 if several else 0, **style), name))
    for number, (name, place) in enumerate((lines or {}).items()):
        handles.append((axis.axvline(place, color=INK, linewidth=1, linestyle=DASHES[1 + number % 3]), name))
    axis.set_xlabel(xlabel)
    axis.set_ylabel("share of the group" if several else "count")
    axis.set_ylim(bottom=0)
    if not any(map(len, finite.values())):
        empty(axis)
    legend(axis, handles if several or lines else [])
    return png(figure)


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = values.min(), values.max()
    if high - low <= 60 and np.array_equal(values, np.round(values)):
        return np.arange(low, high + 2) - 0.5
    return np.histogram_bin_edges(values, bins)


def curves(
    x: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    diagonal: bool = False,
) -> bytes:
    """Draw several curves with the same x values.

    Args:
        x: The x values.
        lines: The y values of each curve, by the name of the curve. A NaN is a gap.
        xlabel: The label of the x axis.
        ylabel: The label of the y axis.
        bands: The lower and upper ends of the band around a curve, by the name of the curve.
        diagonal: Whether to draw the line y = x, on which a calibrated model lies.
    """
    figure, axes = canvas(1, 3.4 if not diagonal else 4.2, width=9 if not diagonal else 6)
    axis, positions, handles = axes[0, 0], numbers(x), []
    if diagonal:
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    for number, (name, values) in enumerate(lines.items()):
        style = {"color": colour_of(number), "linestyle": dashes_of(number)}
        [line] = axis.plot(positions, numbers(values), marker="o", markersize=3.5, **style)
        handles.append((line, name))
        if bands and name in bands:
            low, high = map(numbers, bands[name])
            axis.fill_between(positions, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    if not any(np.isfinite(numbers(values)).any() for values in lines.values()):
        empty(axis)
    legend(axis, handles if len(lines) > 1 else [])
    return png(figure)


def matrix(
    values: ArrayLike,
    names: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    columns: Sequence[str] | None = None,
    by_row: bool = False,
) -> bytes:
    """Draw a matrix as coloured cells, with numbers in the cells if there are at most 15 rows and columns.

    Args:
        values: Counts or other numbers, (rows, columns).
        names: The names of the rows.
        xlabel: The label of the x axis, for the columns.
        ylabel: The label of the y axis, for the rows.
        columns: The names of the columns. None if they are the same as the names of the rows.
        by_row: Whether the colour shows each cell's share of the row's sum, as in a confusion matrix.
    """
    columns = names if columns is None else columns
    cells = numbers(values).reshape(len(names), len(columns))
    shades = np.sqrt(cells / np.maximum(np.nansum(cells, axis=1, keepdims=True), 1e-12)) if by_row else cells
    most = max(*cells.shape, 1)
    side = min(0.55, 6.6 / most) if most > 4 else 0.75
    figure, axes = canvas(1, 1.5 + side * max(cells.shape[0], 2), width=2.4 + side * max(cells.shape[1], 2))
    axis = axes[0, 0]
    axis.grid(visible=False)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    if not np.isfinite(shades).any():
        empty(axis)
        return png(figure)
    high = float(np.nanmax(np.abs(shades))) or 1.0
    low = -high if np.nanmin(shades) < 0 else 0.0
    axis.imshow(shades, cmap=colour_map(low < 0), vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    for setter, texts, turned in ((axis.set_xticks, columns, True), (axis.set_yticks, names, False)):
        ticks = range(0, len(texts), max(1, math.ceil(len(texts) / 45)))
        style = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned and len(texts) > 2 else {}
        setter(ticks, [label(texts[tick], 20) for tick in ticks], fontsize=8 if most <= 25 else 6.5, **style)
    if most <= MOST_NUMBERS:
        write_numbers(axis, cells, np.abs(shades) > 0.5 * high)
    return png(figure)


def write_numbers(axis: Any, cells: np.ndarray, dark: np.ndarray) -> None:
    """Write the numbers other than 0 into the cells of a matrix: in white where `dark` is True."""
    whole = np.array_equal(cells[np.isfinite(cells)], np.round(cells[np.isfinite(cells)]))
    for row, column in np.argwhere(np.isfinite(cells) & (cells != 0)):
        text = f"{cells[row, column]:.0f}" if whole else f"{cells[row, column]:.2f}"
        colour = "white" if dark[row, column] else INK
        axis.text(column, row, text, ha="center", va="center", fontsize=8 if len(text) < 5 else 6.5, color=colour)


def colour_map(diverging: bool) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    ends = [COLOURS[1], "#ffffff", COLOURS[0]] if diverging else ["#f6f7f9", COLOURS[0], "#1f3f6e"]
    return LinearSegmentedColormap.from_list("kcomp", ends)


def scatter(
    x: ArrayLike, y: ArrayLike, *, xlabel: str, ylabel: str, diagonal: bool = False, zero: bool = False
) -> bytes:
    """Draw a dot for each row or, for more than 3000 rows, a density in hexagons.

    Args:
        x: The horizontal positions, such as labels.
        y: The vertical positions, such as predictions or residuals.
        xlabel: The label of the x axis.
        ylabel: The label of the y axis.
        diagonal: Whether to draw the line y = x.
        zero: Whether to draw the line y = 0.
    """
    figure, axes = canvas(1, 4.2, width=6)
    axis, first, second = axes[0, 0], numbers(x), numbers(y)
    finite = np.isfinite(first) & np.isfinite(second)
    first, second = first[finite], second[finite]
    if len(first) > MOST_DOTS:
        hexagons = axis.hexbin(first, second, gridsize=45, bins="log", mincnt=1, cmap=colour_map(False), linewidths=0)
        figure.colorbar(hexagons, label="rows")
    else:
        axis.plot(first, second, "o", color=COLOURS[0], markersize=4, markeredgewidth=0, alpha=0.5)
    if not len(first):
        empty(axis)
    elif diagonal:
        ends = [min(first.min(), second.min()), max(first.max(), second.max())]
        axis.plot(ends, ends, color=INK, linewidth=1, linestyle="--")
    if zero:
        axis.axhline(0, color=INK, linewidth=1, linestyle="--")
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    return png(figure)
