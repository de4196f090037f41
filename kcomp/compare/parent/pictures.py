"""The report's pictures, as PNG files in bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.report.plots import COLOURS, GREY, canvas, png


def positive(values: Sequence[float | None]) -> np.ndarray:
    """Numbers for a logarithmic axis: zero and what is missing become gaps, infinity a large number."""
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    return np.where(array > 0, np.minimum(array, 1e3), np.nan)


def layers_picture(judged: Mapping[str, Any], labels: Sequence[str]) -> bytes:
    """Above, how the difference grows through the whole step; below, each layer alone on the same inputs."""
    figure, axes = canvas(2, 6.8)
    (whole, alone), rows = axes[:, 0], judged["layers"]
    numbers = np.arange(len(rows))
    for name, colour in (("output", COLOURS[0]), ("gradient", COLOURS[1])):
        values = positive([(row[name] or {}).get("between") for row in rows])
        whole.semilogy(numbers, values, ".-", color=colour, label=f"{name} of the layer, {' against '.join(labels)}")
        rounding = positive([row[f"{name}_rounding"] for row in rows])
        whole.semilogy(numbers, rounding, "--", color=colour, alpha=0.6, label=f"{name}, simulated rounding")
    for label, colour in zip(labels, COLOURS, strict=False):
        values = positive([row["errors"].get(label) for row in rows])
        alone.semilogy(numbers, values, ".", color=colour, label=f"{label} against its own float64")
    exact = positive([row["exact"] for row in rows])
    alone.semilogy(numbers, exact, ".", color=GREY, label="float64, backend against backend")
    whole.set_title("The whole step: where the difference grows (zeros are left out)", loc="left")
    alone.set_title("Each layer alone, on identical inputs: the worst of output, statistics and gradients", loc="left")
    for axis in (whole, alone):
        mark_faulty(axis, rows)
        axis.set_ylabel("relative difference")
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        ticks = numbers[:: max(1, len(rows) // 24)]
        axis.set_xticks(ticks, [rows[n]["layer"] for n in ticks], rotation=60, ha="right", fontsize=7)
    return png(figure)


def mark_faulty(axis: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    faulty = [row["number"] for row in rows if row["faulty"]]
    for number in faulty:
        label = "beyond its tolerance" if number == faulty[0] else None
        axis.axvline(number, color="#c62828", linewidth=1, label=label)


def trajectory_picture(found: Mapping[str, Any]) -> bytes:
    """Loss, and distance of the weights against update number with the reorderings' distances."""
    figure, axes = canvas(2, 6.0)
    top, bottom = axes[:, 0]
    for number, (label, losses) in enumerate(found["losses"].items()):
        top.plot(range(1, len(losses) + 1), losses, color=COLOURS[number], label=label, linewidth=3 - 1.8 * number)
    top.set_ylabel("loss of the batch")
    top.set_title("Loss", loc="left")
    updates = range(1, found["updates"] + 1)
    colours = {label: COLOURS[1 + number] for number, label in enumerate(found["labels"])}
    for name, values in found["reordered"].items():
        label = name.partition(",")[0]
        first = name.endswith(" 1")
        bottom.semilogy(updates, positive(values[1:]), "--", color=colours[label], linewidth=1,
                        label=f"{label}, rows of each batch reordered" if first else None)  # fmt: skip
    bottom.semilogy(updates, positive(found["between"][1:]), color=COLOURS[0], linewidth=2,
                    label=f"{found['labels'][0]} against {found['labels'][1]}")  # fmt: skip
    bottom.set_ylabel("distance / norm of the weights")
    bottom.set_title("Distance of the weights", loc="left")
    for axis in (top, bottom):
        axis.set_xlabel("update")
        axis.legend(fontsize=8)
    return png(figure)


def outcome_picture(found: Mapping[str, Any]) -> bytes:
    """Differences with their intervals: frameworks, then seeds."""
    rows = [(f"{found['labels'][0]} minus {found['labels'][1]}", found["frameworks"], COLOURS[0])]
    pairs: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in found["seeds_apart"]:
        pairs.setdefault((row["label"], *row["seeds"]), {})[row["metric"]] = row
    rows += [(f"{label}: seed {one} minus {other}", row, GREY) for (label, one, other), row in pairs.items()]
    figure, axes = canvas(2, 1.6 + 0.5 * len(rows) * 2)
    for axis, name in zip(axes[:, 0], ("accuracy", "log_loss"), strict=True):
        for number, (_, row, colour) in enumerate(rows):
            low, mean, high = (row[name][key] for key in ("low", "mean", "high"))
            axis.plot([low, high], [number, number], color=colour, linewidth=3)
            axis.plot([mean], [number], "o", color=colour)
        axis.axvline(0, color="#333333", linewidth=1)
        axis.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_title(f"{name.replace('_', ' ')}: difference and 95 % interval over {found['rows']} rows", loc="left")
    return png(figure)


def cost_picture(costs: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Images a second for training and prediction: each round, and the median."""
    figure, axes = canvas(2, 1.4 + 0.7 * len(costs) * 2)
    for axis, kind in zip(axes[:, 0], ("train", "predict"), strict=True):
        for number, (label, cost) in enumerate(costs.items()):
            axis.barh(label, np.median(cost[kind] or [0]), color=COLOURS[number], alpha=0.75)
            axis.plot(cost[kind], [label] * len(cost[kind]), "|", color="#222222", markersize=12)
        axis.invert_yaxis()
        axis.set_title(f"{kind}: images a second, the median; a stroke is one round", loc="left")
    return png(figure)
