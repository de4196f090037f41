"""One look for all pictures: colours, axes, and a figure as a PNG file in bytes."""

import io
from typing import Any

COLOURS = ("#3b6fb6", "#d1603d", "#4a9d6f", "#8a6bb8")
GREY = "#8a8f98"


def canvas(rows: int, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}
    pyplot.rcParams.update(style | {"grid.color": "#e6e8eb", "legend.frameon": False})
    return pyplot.subplots(rows, 1, figsize=(9, height), layout="constrained", squeeze=False)


def png(figure: Any) -> bytes:
    from matplotlib import pyplot

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=144)
    pyplot.close(figure)
    return file.getvalue()
