"""Compute how far the weights of two backends differ after the first updates.

Correct backends differ for three reasons, and each adds a term to the tolerance: rounding in the forward and backward
pass, rounding in the update rule, and the storage of weights in float32. docs/internals/compare.md describes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.compare.parent.tolerances import SINGLE, Probe, relative_to

FACTOR = 32.0  # times a measured effect of rounding: a sum of 1,000 terms, added one by one, loses about 32 units
DILUTION = 1.1  # weight decay and epsilon take a larger share of some movements than of others
SMALLEST = 2 * SINGLE  # of the norm of the weights: what storing an update in float32 loses


def measure_divergence(probes: Sequence[Probe], costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare losses and weights of two backends after each update. Return a dict for the report.

    The dict has differences, tolerances, and whether the backends agree. Only the first update that changes the weights
    is checked against a tolerance.

    Args:
        probes: The results of the two backends. A distance is divided by the norm of the first backend's weights. The
            first distance is between the starting weights.
        costs: The results of the processes that measure cost, by backend name. These processes repeat the updates.
    """
    first, second = probes[0], probes[1]
    between = distances(first, "straight", second, "straight")
    reordered = {
        f"{probe.label}, {order}": distances(probe, "straight", probe, order)
        for probe in probes
        for order in reorderings(probe)
    }
    optimizer = optimizer_difference(first, second)
    highest = np.maximum.reduce(list(reordered.values()))
    losses = {probe.label: probe.answer["straight"]["losses"] for probe in probes}
    loss, other_loss = (np.array(losses[probe.label], np.float64) for probe in (first, second))
    update = first_movement(probes)
    tolerance = first_tolerance(first, update, highest, optimizer)
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
        "tolerance": tolerance,
        "factor": FACTOR,
        "alike": bool(between[update] <= tolerance),
        "optimizer": optimizer,
        "identical": first.answer["straight"]["digest"] == second.answer["straight"]["digest"],
        "same_batches": len({probe.answer["batches"] for probe in probes}) == 1,
        "other_starts": other_starts(probes),
        "repeats": {probe.label: repeat(probe, costs[probe.label]) for probe in probes},
    }


def first_tolerance(probe: Probe, update: int, rounding: np.ndarray, optimizer: Mapping[str, Any]) -> float:
    """Return how far the weights of two backends may differ after an update, divided by the norm of the weights.

    Args:
        probe: The results of the first backend.
        update: The number of the update, from 1. It is 0 if no update changes the weights.
        rounding: The largest distance that rounding causes on one backend, after each update.
        optimizer: What `optimizer_difference` returned.
    """
    size = max(float(np.linalg.norm(probe.arrays["trajectory/straight"][update])), 1e-30)
    rule = DILUTION * optimizer["differences"][min(update, optimizer["updates"])] * movement(probe)[update] / size
    return float(SMALLEST + FACTOR * rounding[update] + rule)


def optimizer_difference(first: Probe, second: Probe) -> dict[str, Any]:
    """Compare the weights of two backends after updates with equal gradients.

    Return a dict with the relative difference after each update, the tolerance for the last update, and whether the
    backends agree (`alike`). A difference is divided by the distance of the weights from their start.
    """
    path, other_path = first.arrays["optimizer"], second.arrays["optimizer"]
    moved, size = (np.linalg.norm(array, axis=-1) for array in (path - path[0], path))
    difference = np.linalg.norm(path - other_path, axis=-1)
    relative = [relative_to(float(way), float(gap)) for way, gap in zip(moved, difference, strict=True)]
    tolerance = 0.0
    if moved[-1]:
        tolerance = SINGLE * float(FACTOR * (1 + size[0] / moved[-1]) + 2 * first.answer["condition"])
    return {
        "updates": len(path) - 1,
        "difference": relative[-1],
        "differences": relative,
        "tolerance": tolerance,
        "alike": bool(relative[-1] <= tolerance),
    }


def reorderings(probe: Probe) -> list[str]:
    names = [name.removeprefix("trajectory/") for name in probe.arrays if name.startswith("trajectory/reordered")]
    return sorted(names)


def first_movement(probes: Sequence[Probe]) -> int:
    """Return the number of the first update that changes the weights of a backend, or 0 if no update does."""
    moved = np.logical_or.reduce([~(movement(probe) == 0) for probe in probes[:2]])
    return int(np.argmax(moved))


def movement(probe: Probe) -> np.ndarray:
    """Return how far a backend's weights are from their start, at the start and after each update, (updates + 1,)."""
    path = probe.arrays["trajectory/straight"]
    return np.linalg.norm(path - path[0], axis=1)


def repeat(probe: Probe, cost: Mapping[str, Any]) -> dict[str, Any]:
    """Return whether two processes of one backend end with the same weights.

    The dict has `digests`, a hash of the final weights of each process, and `identical`, whether the hashes are equal.
    """
    digests = [probe.answer["straight"]["digest"], cost["digest"]]
    return {"digests": digests, "identical": digests[0] == digests[1]}


def other_starts(probes: Sequence[Probe]) -> list[str]:
    """Return the names of weights whose starting values differ between the backends."""
    first, *others = [probe.answer["starting_weights"] for probe in probes]
    return sorted({name for other in others for name in first if other.get(name) != first[name]})


def distances(first: Probe, order: str, second: Probe, second_order: str) -> np.ndarray:
    """Return the distance between the weights of two trainings, at the start and after each update, (updates + 1,).

    A distance is divided by the norm of the first training's weights.

    Args:
        first: The results of the first backend.
        order: The name of the first training: "straight", or "reordered 1" and so on for another order of the rows.
        second: The results of the second backend, or of the same backend.
        second_order: The name of the second training.
    """
    path, other = first.arrays[f"trajectory/{order}"], second.arrays[f"trajectory/{second_order}"]
    if first is second:  # the second training starts from moved weights
        other = other + (path[0] - other[0])
    return np.linalg.norm(path - other, axis=1) / np.maximum(np.linalg.norm(path, axis=1), 1e-30)
