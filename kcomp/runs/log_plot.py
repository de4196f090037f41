"""Draw the log of a run with matplotlib."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from kcomp.report.canvas import COLOURS, GREY, STYLE
from kcomp.system.backends import require_packages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = 3  # largest number of drawn scores


def plot_log(log: pd.DataFrame, scores: Sequence[str], *, best: int | None, title: str) -> "Figure":
    """Draw the training loss, the scores of the held-out rows and the learning rate over the epochs.

    Args:
        log: The content of log.csv, at least one row.
        scores: Names of scores. The first three that the log contains are drawn.
        best: The epoch whose weights the run uses, which gets a large dot. None if it is not known yet.
        title: The title.

    Returns:
        The matplotlib figure.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    require_packages(["matplotlib"], "report")
    from matplotlib import pyplot

    shown = [name for name in scores if name in log][:SCORES]
    panels = ["loss", *shown, "rate"]
    marked = log[log["epoch"] == best]
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(len(panels), 1, figsize=(8, 1.6 * len(panels)), sharex=True, squeeze=False)
        figure.set_layout_engine("constrained")
        for axis, name in zip(axes[:, 0], panels, strict=True):
            axis.plot(log["epoch"], log[name], ".-", color=GREY if name == "rate" else COLOURS[name != "loss"])
            axis.set_ylabel("learning rate" if name == "rate" else name.replace("_", " "))
            if name in shown:
                axis.plot(marked["epoch"], marked[name], "o", color=COLOURS[2])
            for start in stage_starts(log)[1:]:
                axis.axvline(start - 0.5, color=GREY, linestyle=":")
        if log["rate"].gt(0).all():
            axes[-1, 0].set_yscale("log")
        axes[-1, 0].set_xlabel("epoch")
        axes[0, 0].set_title(title, loc="left")
        pyplot.close(figure)  # otherwise, a notebook shows the figure twice
    return figure


def stage_starts(log: pd.DataFrame) -> list[int]:
    """Return the first epoch of each stage (part of the training)."""
    return [int(epoch) for epoch in log["epoch"][log["stage"] != log["stage"].shift()]]
