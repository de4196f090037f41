"""The common style of all plots, and functions that create a figure and save it as PNG."""

import io
from typing import Any

COLOURS = ("#3b6fb6", "#d1603d", "#4a9d6f", "#8a6bb8")
GREY = "#8a8f98"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "legend.frameon": False,
}


def canvas(rows: int, height: float) -> tuple[Any, Any]:
    """Create a matplotlib figure with one plot below the other.

    Args:
        rows: How many plots.
        height: The height of the figure in inches.

    Returns:
        figure: The figure.
        axes: The axes of the plots, an array of shape (rows, 1).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(STYLE)
    figure, axes = pyplot.subplots(rows, 1, figsize=(9, height), squeeze=False)
    figure.set_layout_engine("constrained", hspace=0.06)
    return figure, axes


def png(figure: Any) -> bytes:
    """Return the bytes of a PNG file that shows a figure. Close the figure."""
    from matplotlib import pyplot

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=144)
    pyplot.close(figure)
    return file.getvalue()
