"""Measure how far the weights of two backends move apart in the first updates. This module imports no Keras.

The scale for a distance is the difference of a backend from itself, when the rows of each batch are reordered.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.compare.parent.tolerances import SINGLE, Probe

FACTOR = 32.0  # times the largest distance by reordering at the first update
SMALLEST = 2 * SINGLE  # of the norm of the weights: what storing an update in float32 loses


def measure_divergence(probes: Sequence[Probe], costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return losses, distances after each update, and whether the first update and the optimizer agree.

    probes:  the results of the two backends. Distances are relative to the norm of the first backend's weights.
             The first distance is before the first update.
    costs:   the results of the processes that measure cost, which repeat the updates.

    Only the first update that changes the weights is checked. Later, a number near zero, such as a ReLU's input or a
    moment of Adam, may have a different sign after reordering. Such a change increases the distance by orders of
    magnitude. The optimizer is checked separately, by its updates with the same gradients.
    """
    first, second = probes[0], probes[1]
    between = distances(first, "straight", second, "straight")
    reordered = {
        f"{probe.label}, {order}": distances(probe, "straight", probe, order)
        for probe in probes
        for order in reorderings(probe)
    }
    highest = np.maximum.reduce(list(reordered.values()))
    losses = {probe.label: probe.answer["straight"]["losses"] for probe in probes}
    loss, other_loss = (np.array(losses[probe.label], np.float64) for probe in (first, second))
    update = first_movement(probes)
    tolerance = max(FACTOR * highest[update], SMALLEST)
    return {
        "updates": len(loss),
        "labels": [probe.label for probe in probes],
        "losses": losses,
        "between": between.tolist(),
        "reordered": {label: values.tolist() for label, values in reordered.items()},
        "loss_difference": (np.abs(loss - other_loss) / np.maximum(np.abs(loss), 1e-30)).tolist(),
        "checked_update": update,
        "first_distance": float(between[update]),
        "last_distance": float(between[-1]),
        "tolerance": float(tolerance),
        "factor": FACTOR,
        "alike": bool(between[update] <= tolerance),
        "optimizer": optimizer_difference(first, second),
        "identical": first.answer["straight"]["digest"] == second.answer["straight"]["digest"],
        "same_batches": len({probe.answer["batches"] for probe in probes}) == 1,
        "other_starts": other_starts(probes),
        "repeats": {probe.label: repeat(probe, costs[probe.label]) for probe in probes},
    }


def optimizer_difference(first: Probe, second: Probe) -> dict[str, Any]:
    """Return the distance between the weights of two optimizers after updates with equal gradients.

    The distance is divided by the movement, the distance of the weights from their start. The tolerance is `FACTOR`
    rounding units of the movement, and of the weights to which it is added.
    """
    path, other_path = first.arrays["optimizer"], second.arrays["optimizer"]
    moved, size = (float(np.linalg.norm(array)) for array in (path[-1] - path[0], path[0]))
    difference = float(np.linalg.norm(path[-1] - other_path[-1]))
    tolerance = 0.0
    if moved:
        difference, tolerance = difference / moved, FACTOR * SINGLE * (1 + size / moved)
    return {
        "updates": len(path) - 1,
        "difference": difference,
        "tolerance": tolerance,
        "alike": bool(difference <= tolerance),
    }


def reorderings(probe: Probe) -> list[str]:
    names = [name.removeprefix("trajectory/") for name in probe.arrays if name.startswith("trajectory/reordered")]
    return sorted(names)


def first_movement(probes: Sequence[Probe]) -> int:
    """Return the number of the first update that changes the weights of a backend or makes them NaN. 0 for none."""
    moved = np.logical_or.reduce([~(movement(probe) == 0) for probe in probes[:2]])
    return int(np.argmax(moved))


def movement(probe: Probe) -> np.ndarray:
    """Return the distance of the weights from their start after each update."""
    path = probe.arrays["trajectory/straight"]
    return np.linalg.norm(path - path[0], axis=1)


def repeat(probe: Probe, cost: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether a second process of the same backend ended with exactly the same weights."""
    digests = [probe.answer["straight"]["digest"], cost["digest"]]
    return {"digests": digests, "identical": digests[0] == digests[1]}


def other_starts(probes: Sequence[Probe]) -> list[str]:
    """Return the names of weights whose starting values differ between the backends."""
    first, *others = [probe.answer["starting_weights"] for probe in probes]
    return sorted({name for other in others for name in first if other.get(name) != first[name]})


def distances(first: Probe, order: str, second: Probe, second_order: str) -> np.ndarray:
    path, other = first.arrays[f"trajectory/{order}"], second.arrays[f"trajectory/{second_order}"]
    return np.linalg.norm(path - other, axis=1) / np.maximum(np.linalg.norm(path, axis=1), 1e-30)
