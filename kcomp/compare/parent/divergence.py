"""How far two backends' weights drift apart over the first updates, and how far reordering does the same; no Keras."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kcomp.compare.parent.verdict import SINGLE, Probe

FACTOR = 32.0  # of the reorderings' distance at the first update
SMALLEST = 2 * 2.0**-23  # of the norm of the weights: what storing an update in float32 loses


def diverge(probes: Sequence[Probe], costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Losses, distances by update (from the start, number 0), the repeats, and whether they begin alike.

    Distances are relative to the norm of the first probe's weights. `costs` are the answers of the second processes.
    Only the first update that moves the weights of either is judged: later, one number near zero (a ReLU's input, a
    moment of Adam's) that falls to the other side parts two runs by orders of magnitude, in one reordering and not in
    the next. What an optimizer remembers is judged by its updates on given gradients.
    """
    first, second = probes[0], probes[1]
    between = distances(first, "straight", second, "straight")
    own = {
        f"{probe.label}, {order}": distances(probe, "straight", probe, order)
        for probe in probes
        for order in orders(probe)
    }
    highest = np.maximum.reduce(list(own.values()))
    losses = {probe.label: probe.answer["straight"]["losses"] for probe in probes}
    a, b = (np.array(losses[probe.label], np.float64) for probe in (first, second))
    moved = first_movement(probes)
    tolerance = max(FACTOR * highest[moved], SMALLEST)
    return {
        "updates": len(a),
        "labels": [probe.label for probe in probes],
        "losses": losses,
        "between": between.tolist(),
        "reordered": {label: values.tolist() for label, values in own.items()},
        "loss_difference": (np.abs(a - b) / np.maximum(np.abs(a), 1e-30)).tolist(),
        "judged_update": moved,
        "first_distance": float(between[moved]),
        "last_distance": float(between[-1]),
        "tolerance": float(tolerance),
        "factor": FACTOR,
        "alike": bool(between[moved] <= tolerance),
        "optimizer": same_rule(first, second),
        "identical": first.answer["straight"]["digest"] == second.answer["straight"]["digest"],
        "same_batches": len({probe.answer["batches"] for probe in probes}) == 1,
        "other_starts": other_starts(probes),
        "repeats": {probe.label: repeated(probe, costs[probe.label]) for probe in probes},
    }


def same_rule(first: Probe, second: Probe) -> dict[str, Any]:
    """How far the optimizer alone moves the weights apart on the same gradients, relative to how far it moves them.

    The tolerance is `FACTOR` rounding units of what is stored: of the movement, and of the weights it is added to.
    """
    one, other = first.arrays["optimizer"], second.arrays["optimizer"]
    moved, size = (float(np.linalg.norm(array)) for array in (one[-1] - one[0], one[0]))
    apart = float(np.linalg.norm(one[-1] - other[-1]))
    if not moved:
        return {"updates": len(one) - 1, "apart": apart, "tolerance": 0.0, "alike": apart == 0}
    tolerance = FACTOR * SINGLE * (1 + size / moved)
    return {
        "updates": len(one) - 1,
        "apart": apart / moved,
        "tolerance": tolerance,
        "alike": bool(apart / moved <= tolerance),
    }


def orders(probe: Probe) -> list[str]:
    names = [name.removeprefix("trajectory/") for name in probe.arrays if name.startswith("trajectory/reordered")]
    return sorted(names)


def first_movement(probes: Sequence[Probe]) -> int:
    """The first update after which some probe's weights are elsewhere, or no numbers; 0 where there is none."""
    moved = np.logical_or.reduce([~(movement(probe) == 0) for probe in probes[:2]])
    return int(np.argmax(moved))


def movement(probe: Probe) -> np.ndarray:
    """How far the weights are from their start, by update."""
    path = probe.arrays["trajectory/straight"]
    return np.linalg.norm(path - path[0], axis=1)


def repeated(probe: Probe, cost: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a second process of the same backend came to the same weights, to the last bit."""
    digests = [probe.answer["straight"]["digest"], cost["digest"]]
    return {"digests": digests, "identical": digests[0] == digests[1]}


def other_starts(probes: Sequence[Probe]) -> list[str]:
    """Weights that the recipe starts otherwise on another backend than on the first."""
    first, *others = [probe.answer["starting_weights"] for probe in probes]
    return sorted({name for other in others for name in first if other.get(name) != first[name]})


def distances(one: Probe, order: str, other: Probe, other_order: str) -> np.ndarray:
    a, b = one.arrays[f"trajectory/{order}"], other.arrays[f"trajectory/{other_order}"]
    return np.linalg.norm(a - b, axis=1) / np.maximum(np.linalg.norm(a, axis=1), 1e-30)
