"""The style of all pictures: colours, axes, and figures as PNG files in bytes."""

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
    """Return a figure of this height in inches, and its axes as an array of shape (rows, 1)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(STYLE)
    figure, axes = pyplot.subplots(rows, 1, figsize=(9, height), squeeze=False)
    figure.set_layout_engine("constrained", hspace=0.06)
    return figure, axes


def png(figure: Any) -> bytes:
    """Return a figure as a PNG file, and close it."""
    from matplotlib import pyplot

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=144)
    pyplot.close(figure)
    return file.getvalue()
