"""Draw the pictures of the report. Each is returned as the bytes of a PNG file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.compare.parent.score_text import metric_words
from kcomp.compare.parent.verdict import display_name
from kcomp.report.canvas import COLOURS, GREY, canvas, png


def positive(values: Sequence[float | None]) -> np.ndarray:
    """Return numbers for a logarithmic axis. Zero and None become NaN (a gap). Numbers above 1000 become 1000."""
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    return np.where(array > 0, np.minimum(array, 1e3), np.nan)


def layers_picture(checked: Mapping[str, Any], labels: Sequence[str]) -> bytes:
    """Plot how much the results of each layer differ, in a whole training step and when each layer runs alone."""
    figure, axes = canvas(2, 8.5)
    (whole, alone), rows = axes[:, 0], checked["layers"]
    numbers = np.arange(len(rows))
    for name, colour in (("output", COLOURS[0]), ("gradient", COLOURS[1])):
        values = positive([(row[name] or {}).get("between") for row in rows])
        whole.semilogy(numbers, values, ".-", color=colour, label=name)
        rounding = positive([row[f"{name}_rounding"] for row in rows])
        whole.semilogy(numbers, rounding, "--", color=colour, alpha=0.6, label=f"{name}, rounding")
    for label, colour in zip(labels, COLOURS, strict=False):
        values = positive([row["errors"].get(label) for row in rows])
        alone.semilogy(numbers, values, ".", color=colour, label=f"{display_name(label)} against its own float64")
    exact = positive([row["exact"] for row in rows])
    alone.semilogy(numbers, exact, ".", color=GREY, label="float64, backend against backend")
    whole.set_title("The whole step: where the difference grows (zeros are left out)", loc="left", pad=20)
    alone.set_title(
        "Each layer alone, on the same inputs: largest of output, statistics and gradients", loc="left", pad=20
    )
    for axis in (whole, alone):
        mark_faulty(axis, rows)
        axis.set_ylabel("relative difference")
        axis.legend(fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0)
        ticks = numbers[:: max(1, len(rows) // 24)]
        axis.set_xticks(ticks, [rows[n]["layer"] for n in ticks], rotation=60, ha="right", fontsize=7)
    return png(figure)


def mark_faulty(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    faulty = [row["number"] for row in rows if row["faulty"]]
    for number in faulty:
        label = "beyond its tolerance" if number == faulty[0] else None
        axis.axvline(number, color="#c62828", linewidth=1, label=label)


def updates_picture(trajectory: Mapping[str, Any]) -> bytes:
    """Plot, after each update, the loss, the distance between the backends' weights, and the distance that rounding
    causes.
    """
    figure, axes = canvas(2, 6.0)
    top, bottom = axes[:, 0]
    labels = trajectory["labels"]
    for number, (label, losses) in enumerate(trajectory["losses"].items()):
        width = 3 - 1.8 * number
        top.plot(range(1, len(losses) + 1), losses, color=COLOURS[number], label=display_name(label), linewidth=width)
    top.set_ylabel("loss of the batch")
    top.set_title("Loss", loc="left")
    updates = range(1, trajectory["updates"] + 1)
    for name, values in trajectory["reordered"].items():
        label = name.partition(",")[0]
        legend = f"{display_name(label)}, rounded in another way" if name.endswith(" 1") else None
        colour = COLOURS[labels.index(label)]
        bottom.semilogy(updates, positive(values[1:]), "--", color=colour, linewidth=1, label=legend)
    between = f"{display_name(labels[0])} against {display_name(labels[1])}"
    bottom.semilogy(updates, positive(trajectory["between"][1:]), color="#1d2430", linewidth=2, label=between)
    bottom.set_ylabel("distance / norm of the weights")
    bottom.set_title("Distance of the weights", loc="left")
    for axis in (top, bottom):
        axis.set_xlabel("update")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=8)
    return png(figure)


def outcome_picture(outcome: Mapping[str, Any]) -> bytes:
    """Plot differences in score with their intervals: first between the backends, then between seeds."""
    first, second = map(display_name, outcome["labels"][:2])
    rows = [(f"{first} minus {second}", outcome["frameworks"], COLOURS[0])]
    pairs: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in outcome["seeds_apart"]:
        pairs.setdefault((row["label"], *row["seeds"]), {})[row["metric"]] = row
    for (label, first_seed, second_seed), row in pairs.items():
        rows.append((f"{display_name(label)}: seed {first_seed} minus {second_seed}", row, GREY))
    figure, axes = canvas(2, 1.8 + 0.5 * len(rows) * 2)
    for axis, name in zip(axes[:, 0], outcome["metrics"], strict=True):
        for number, (_, row, colour) in enumerate(rows):
            low, mean, high = (row[name][key] for key in ("low", "mean", "high"))
            axis.plot([low, high], [number, number], color=colour, linewidth=3)
            axis.plot([mean], [number], "o", color=colour)
        axis.axvline(0, color="#333333", linewidth=1)
        axis.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(f"Difference in {metric_words(name)} and 95 % interval over {outcome['rows']} rows", loc="left")
    return png(figure)


def cost_picture(costs: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Plot the images per second in training and in prediction, for each round, with the median."""
    figure, axes = canvas(2, 1.8 + 0.6 * len(costs) * 2)
    for axis, kind, title in zip(axes[:, 0], ("train", "predict"), ("Training", "Prediction"), strict=True):
        for number, (label, cost) in enumerate(costs.items()):
            name = display_name(label)
            axis.barh(name, np.median(cost[kind] or [0]), color=COLOURS[number])
            axis.plot(cost[kind], [name] * len(cost[kind]), "|", color="#222222", markersize=12)
        axis.invert_yaxis()
        axis.set_title(f"{title}: images a second (bar: median, stroke: one round)", loc="left")
    return png(figure)
