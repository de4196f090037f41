"""Draw the plot of a learning rate range test."""

from collections.abc import Mapping

from numpy.typing import ArrayLike

from kcomp.report.canvas import COLOURS, DASHES, GREY, INK, canvas, legend, numbers, png


def draw_rate_test(rates: ArrayLike, losses: ArrayLike, smoothed: ArrayLike, lines: Mapping[str, float]) -> bytes:
    """Return a PNG plot of the loss over the learning rate, which has a logarithmic axis.

    Args:
        rates: The learning rate of each step.
        losses: The loss of each step.
        smoothed: The smoothed loss of each step.
        lines: Rates to mark by a vertical line, by name.
    """
    figure, axes = canvas(1, 3.4)
    axis, positions, averages = axes[0, 0], numbers(rates), numbers(smoothed)
    [dots] = axis.plot(positions, numbers(losses), ".", color=GREY, markersize=3, alpha=0.6)
    [line] = axis.plot(positions, averages, color=COLOURS[0])
    handles = [(line, "smoothed loss"), (dots, "loss of a step")]
    for number, (name, rate) in enumerate(lines.items()):
        handles.append((axis.axvline(rate, color=INK, linewidth=1, linestyle=DASHES[1 + number % 3]), name))
    axis.set_xscale("log")
    low, first = averages.min(), averages[0]
    margin = 0.1 * max(first - low, 0.1 * abs(first), 1e-6)
    axis.set_ylim(low - margin, first + 5 * margin)
    axis.set_xlabel("learning rate")
    axis.set_ylabel("loss")
    legend(axis, handles)
    return png(figure)
