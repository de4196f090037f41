"""Find the layers that compute different results on two backends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from kcomp.compare.parent.tolerances import (
    EXACT_FACTOR,
    FACTOR,
    FLOOR,
    QUANTITIES,
    SINGLE,
    Arrays,
    Measurement,
    Probe,
    measure,
    norm,
    relative_to,
    result_names,
)
from kcomp.compare.sketch import distance, relative


def check_arithmetic(
    reference: Probe, exacts: Sequence[Probe], singles: Sequence[Probe], unit: float
) -> dict[str, Any]:
    """Compare every layer, and the whole training step, between two backends. Return a dict for the report.

    Args:
        reference: The float64 results of the reference process, which stored the inputs of every layer.
        exacts: The float64 results of the other backends.
        singles: The results of both backends in the recipe's precision.
        unit: The relative rounding unit of the recipe's precision.
    """
    check_same_layers([reference, *exacts, *singles])
    rows, findings = [], []
    for number, call in enumerate(reference.answer["calls"]):
        measurements = [measure(name, reference, exacts, singles, unit) for name in result_names(reference, number)]
        own = shape_findings(call["name"], number, singles) or layer_findings(number, measurements, singles)
        findings += own
        rows.append(layer_row(number, measurements, singles, reference, faulty=bool(own)))
    whole = whole_step(reference, singles, unit)
    mixing = [mixing_row(name, reference, singles) for name in ("mixing/0", "mixing/1")]
    if not findings:  # a wrong layer explains a wrong step
        findings = [row["finding"] for row in (*mixing, *whole) if row["finding"]]
    return {
        "layers": rows,
        "findings": findings,
        "whole": whole,
        "mixing": mixing,
        "unit": unit,
        "factor": FACTOR,
        "exact_factor": EXACT_FACTOR,
        "rows": reference.answer["rows"],
        "clean": not findings,
    }


def check_same_layers(probes: Sequence[Probe]) -> None:
    expected = [call["name"] for call in probes[0].answer["calls"]]
    for probe in probes[1:]:
        names = [call["name"] for call in probe.answer["calls"]]
        if names != expected:
            pairs = [pair for pair in zip(expected, names, strict=False) if pair[0] != pair[1]]
            first, second = pairs[0] if pairs else (f"{len(expected)} layers", f"{len(names)} layers")
            raise ValueError(
                f"the recipe's model() builds other layers on {probe.backend} ({second}) than on {probes[0].backend} "
                f"({first}); a recipe must give one network on every backend"
            )


def shape_findings(layer: str, number: int, singles: Sequence[Probe]) -> list[dict[str, Any]]:
    shapes = {probe.label: probe.answer["calls"][number]["shapes"] for probe in singles}
    if len({str(shape) for shape in shapes.values()}) < 2:
        return []
    listed = ", ".join(f"{shape} on {label}" for label, shape in shapes.items())
    return [finding(layer, "shape", f"its output has the shape {listed}{other_settings(number, singles)}")]


def layer_findings(number: int, measurements: Sequence[Measurement], singles: Sequence[Probe]) -> list[dict[str, Any]]:
    """Return a list with a description of the worst fault of layer `number`. The list is empty if the layer has no
    fault.
    """
    worst = worst_of(measurements)
    name = singles[0].answer["calls"][number]["name"]
    if worst is None or worst.used_tolerance <= 1:
        return []
    quantity = QUANTITIES[worst.quantity]
    if worst.is_different:
        text = (
            f"the backends compute different functions: on the same inputs in float64, its {quantity} differs by "
            f"{worst.exact:.1e} (rounding explains {worst.exact_tolerance:.1e}){other_settings(number, singles)}"
        )
        return [finding(name, worst.quantity, text)]
    label = worst.inexact_labels[0]
    text = (
        f"inexact on {label}: on the same inputs, its {quantity} differs from float64 by {worst.errors[label]:.1e} "
        f"(tolerance {worst.tolerances[label]:.1e}){other_settings(number, singles)}"
    )
    return [finding(name, worst.quantity, text)]


def worst_of(measurements: Sequence[Measurement]) -> Measurement | None:
    return max(measurements, key=lambda measurement: measurement.used_tolerance, default=None)


def finding(layer: str, quantity: str, text: str) -> dict[str, Any]:
    return {"layer": layer, "quantity": quantity, "text": f"{layer}: {text}"}


def other_settings(number: int, singles: Sequence[Probe]) -> str:
    """Return a text about the first setting of layer `number` that differs between the backends, such as "; strides is
    ...".

    The text is empty if no setting differs. It is appended to a sentence.
    """
    calls = [(probe.label, probe.answer["calls"][number]) for probe in singles]
    (first_label, first), *others = [(label, {"kind": call["kind"], **call["config"]}) for label, call in calls]
    for label, config in others:
        for name in sorted(first.keys() & config.keys()):
            if first[name] != config[name]:
                return f"; {name} is {first[name]} on {first_label} and {config[name]} on {label}"
    return ""


def layer_row(
    number: int, measurements: Sequence[Measurement], singles: Sequence[Probe], reference: Probe, *, faulty: bool
) -> dict[str, Any]:
    """Return the table row of one layer: a dict of texts and numbers by column name."""
    call, worst = reference.answer["calls"][number], worst_of(measurements)
    errors = {probe.label: [measurement.errors[probe.label] for measurement in measurements] for probe in singles}
    output, gradient = f"out/{number}/0", f"gradient/{number}/0"
    return {
        "number": number,
        "layer": call["name"],
        "kind": call["kind"],
        "output": step_difference(output, singles, reference),
        "output_rounding": rounding_change(output, reference),
        "gradient": step_difference(gradient, singles, reference),
        "gradient_rounding": rounding_change(gradient, reference),
        "weights": list(weight_rows(number, singles, reference)),
        "alone": {QUANTITIES[measurement.quantity]: asdict(measurement) for measurement in measurements},
        "exact": max((measurement.exact for measurement in measurements), default=None),
        "errors": {label: max(values, default=None) for label, values in errors.items()},
        "used_tolerance": None if worst is None else worst.used_tolerance,
        "float64": call["precision"] in (None, "float64"),
        "checked": bool(measurements),
        "faulty": faulty,
    }


def weight_rows(number: int, singles: Sequence[Probe], reference: Probe) -> Iterator[dict[str, Any]]:
    """Yield a table row for each weight of layer `number`: how much the weight's gradient differs between the backends.

    The gradients are those of the whole training step. Differences are divided by the norm of the layer's gradient.
    """
    weights = reference.answer["weights"]
    gradients = [reference.arrays[f"step/weight/{k}"] for k in range(len(weights))]
    own = [k for k, weight in enumerate(weights) if weight["call"] == number]
    size = max(norm([gradients[k] for k in own]), FLOOR * norm(gradients))
    for k in own:
        yield {
            "path": weights[k]["path"],
            "gradient": step_difference(f"weight/{k}", singles, reference, size=size),
            "rounding": rounding_change(f"weight/{k}", reference, size=size),
        }


def step_difference(
    name: str, singles: Sequence[Probe], reference: Probe, *, size: float | None = None
) -> dict[str, float] | None:
    """Return how much a result of the whole training step differs. None if a process has no such result.

    Args:
        name: The name of the result, such as out/3/0 for output 0 of layer 3.
        singles: The results of both backends in the recipe's precision.
        reference: The results in float64.
        size: The number by which differences are divided. None uses the norm of the float64 result.

    Returns:
        A dict of relative differences. `between` is the difference between the backends. The other keys are names of
        backends, each with the backend's difference from float64.
    """
    key = f"step/{name}"
    if any(key not in probe.arrays for probe in (reference, *singles)):
        return None
    exact = reference.arrays[key]
    size = norm([exact]) if size is None else size
    pair = [probe.arrays[key] for probe in singles[:2]]
    errors = {probe.label: relative_to(size, distance(probe.arrays[key], exact)) for probe in singles}
    return {"between": relative_to(size, distance(pair[0], pair[-1])), **errors}


def rounding_change(name: str, reference: Probe, *, size: float | None = None) -> float | None:
    """Return the relative change of a float64 result of the training step when the outputs of all layers are rounded.

    Args:
        name: The name of the result, such as out/3/0 for output 0 of layer 3.
        reference: The results in float64.
        size: The number by which the change is divided. None uses the norm of the result.
    """
    if f"step/{name}" not in reference.arrays:
        return None
    exact = reference.arrays[f"step/{name}"]
    return relative_to(norm([exact]) if size is None else size, distance(reference.arrays[f"moved-step/{name}"], exact))


def whole_step(reference: Probe, singles: Sequence[Probe], unit: float) -> list[dict[str, Any]]:
    """Return three table rows for a whole training step: the logits, the loss, and the gradients of all weights."""
    last = len(reference.answer["calls"]) - 1
    gradients = [f"step/weight/{k}" for k in range(len(reference.answer["weights"]))]
    keys = {"logits": [f"step/out/{last}/0"], "loss": ["step/loss"], "gradients of all weights": gradients}
    return [whole_row(name, keys[name], reference, singles, unit) for name in keys if keys[name]]


def whole_row(
    name: str, keys: Sequence[str], reference: Probe, singles: Sequence[Probe], unit: float
) -> dict[str, Any]:
    def joined(arrays: Arrays, prefix: str = "") -> np.ndarray:
        return np.concatenate([arrays[prefix + key].ravel() for key in keys])

    exact, results = joined(reference.arrays), [joined(probe.arrays) for probe in singles]
    change = relative(joined(reference.arrays, "moved-"), exact, exact)
    tolerance = FACTOR * max(unit, change)
    labels = [probe.label for probe in singles]
    errors = {label: relative(result, exact, exact) for label, result in zip(labels, results, strict=True)}
    return {
        "name": name,
        "between": relative(results[0], results[:2][-1], exact),
        "errors": errors,
        "rounding": change,
        "tolerance": tolerance,
        "finding": error_finding("the whole step", name, errors, tolerance),
    }


def mixing_row(key: str, reference: Probe, singles: Sequence[Probe]) -> dict[str, Any]:
    exact, tolerance = reference.arrays[key], FACTOR * SINGLE
    errors = {probe.label: relative(probe.arrays[key], exact, exact) for probe in singles}
    pair = [probe.arrays[key] for probe in singles[:2]]
    name = {"mixing/0": "mixed images", "mixing/1": "mixed labels"}[key]
    return {
        "name": name,
        "between": relative(pair[0], pair[-1], exact),
        "errors": errors,
        "tolerance": tolerance,
        "finding": error_finding("the batch layers", name, errors, tolerance),
    }


def error_finding(place: str, name: str, errors: Mapping[str, float], tolerance: float) -> dict[str, Any] | None:
    beyond = [label for label, error in errors.items() if not error <= tolerance]
    if not beyond:
        return None
    text = f"the {name} on {beyond[0]} differ from float64 by {errors[beyond[0]]:.1e} (tolerance {tolerance:.1e})"
    return finding(place, name, text)
