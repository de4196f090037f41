"""Create figures that look alike, and save them as PNG."""

import functools
import io
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

COLOURS = ("#3b6fb6", "#d1603d", "#4a9d6f", "#8a6bb8")
GREY = "#8a8f98"
INK = "#1d2430"
DASHES = ("-", "--", ":", "-.")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "legend.frameon": False,
}
DPI = 120  # a page shows 96 pixels an inch, so that a plot's text is as large as that of a table
LARGE = 50_000  # bytes; a larger PNG file gets a palette
ASIAN_FONTS = ("Noto Sans CJK KR", "Noto Sans CJK JP", "Noto Sans KR", "NanumGothic", "Malgun Gothic",
               "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei", "PingFang SC", "Arial Unicode MS")  # fmt: skip


def canvas(rows: int, height: float, *, width: float = 9) -> tuple[Any, Any]:
    """Create a matplotlib figure with several plots below each other.

    Args:
        rows: The number of plots.
        height: The height of the figure in inches.
        width: The width of the figure in inches. A page has room for 11 inches.

    Returns:
        figure: The figure.
        axes: The axes of the plots, an array of shape (rows, 1).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(STYLE)
    pyplot.rcParams["font.family"] = font_families()
    figure, axes = pyplot.subplots(rows, 1, figsize=(width, height), squeeze=False)
    figure.set_layout_engine("constrained", hspace=0.06)
    return figure, axes


@functools.cache
def font_families() -> list[str]:
    """Return the names of the fonts of plots: matplotlib's own, then installed fonts with Asian characters."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in ASIAN_FONTS if name in installed)]


def png(figure: Any) -> bytes:
    """Return a figure as a PNG file, and close the figure. A large file gets a palette of 128 colours."""
    from matplotlib import pyplot

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(file, format="png", dpi=DPI)
    pyplot.close(figure)
    return file.getvalue() if file.tell() <= LARGE else with_palette(file)


def with_palette(file: io.BytesIO) -> bytes:
    from PIL import Image

    smaller = io.BytesIO()
    Image.open(file).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(smaller, "png", dpi=(DPI, DPI))
    return smaller.getvalue()


def label(text: str, width: int = 28) -> str:
    """Return a text that matplotlib draws literally, shortened to a width.

    Args:
        text: Any text. Control characters and lone surrogates become "?".
        width: The greatest width in characters. A Chinese, Japanese or Korean character counts as two. In a longer
            text, "…" replaces the middle.
    """
    characters = [
        "?" if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") else character for character in text
    ]
    widths = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in characters]
    if sum(widths) > width:
        ends = np.cumsum(widths)
        first = int(np.searchsorted(ends, width // 2, "right"))
        last = int(np.searchsorted(ends, ends[-1] - (width - 1 - width // 2), "left")) + 1
        characters = [*characters[:first], "…", *characters[last:]]
    shown = "".join(characters).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib leaves names with "_" out of legends


def numbers(values: ArrayLike) -> np.ndarray:
    """Return an array as float64, with NaN in place of infinite values."""
    array = np.asarray(values, np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def colour_of(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def dashes_of(number: int) -> str:
    return DASHES[number // len(COLOURS) % len(DASHES)]


def empty(axis: Any) -> None:
    axis.text(0.5, 0.5, "no data", transform=axis.transAxes, ha="center", va="center", color=GREY)


def legend(axis: Any, handles: Sequence[tuple[Any, str]]) -> None:
    """Show the names of at most 16 lines to the right of the plot. `handles` has pairs of a line and its name."""
    if handles:
        lines, names = zip(*handles[:16], strict=True)
        axis.legend(lines, [label(name) for name in names], fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
