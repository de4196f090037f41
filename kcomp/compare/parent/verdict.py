"""Which layers compute something else on one backend than on the other, judged from numbers alone; no Keras.

Every layer was given the same inputs everywhere, in float64 and in the precision of the recipe. Two questions:

Is it the same function? In float64 the backends agree to about 1e-15. They may not differ by as much as `EXACT_FACTOR`
times what rounding the layer's inputs to the recipe's precision would change.
Is it computed as well as rounding allows? The error of a backend, its own precision against its own float64, may be
`FACTOR` times the largest of: the rounding unit; what moving each input by up to that unit changes (a sum that cancels
loses digits on any machine); the other backend's error. Sums of n terms added one by one lose about sqrt(n) units, and
256 = sqrt(65,536).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kcomp.compare.sketch import relative

EXACT_FACTOR, FACTOR = 8.0, 256.0
LARGEST = 0.9  # of any tolerance: a layer that gives zeros is off by 1
SINGLE = 2.0**-23  # float32's rounding unit
UNITS = {"mixed_bfloat16": 2.0**-8, "mixed_float16": 2.0**-11}  # rounding units of what layers compute in
WORDS = {
    "out": "output",
    "state": "new statistics",
    "in": "gradient of its inputs",
    "weight": "gradient of its weights",
}
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Probe:
    """What one process found: its backend, whether in float64, its answer and its arrays."""

    label: str
    backend: str
    answer: Mapping[str, Any]
    arrays: Arrays


@dataclass(frozen=True)
class Measured:
    """One quantity of one layer alone: the float64 difference of the backends, each label's error, and tolerances."""

    quantity: str
    exact: float
    errors: dict[str, float]
    between: float
    exact_tolerance: float
    tolerances: dict[str, float]

    @property
    def different(self) -> bool:
        return not self.exact <= self.exact_tolerance

    @property
    def careless(self) -> list[str]:
        return [label for label, error in self.errors.items() if not error <= self.tolerances[label]]

    @property
    def strain(self) -> float:
        """The largest share of a tolerance that is used up."""
        shares = [self.exact / self.exact_tolerance if self.exact else 0.0]
        shares += [error / self.tolerances[label] if error else 0.0 for label, error in self.errors.items()]
        return float(np.nan_to_num(max(shares), nan=0.0))


def unit_of(precision: str, device: str = "cpu") -> float:
    """The relative rounding unit of a recipe's precision on a device: TF32 exists on GPUs only."""
    if precision == "tensorfloat32" and device.lower() != "cpu":
        return 2.0**-10
    return UNITS.get(precision, SINGLE)


def judge(reference: Probe, exacts: Sequence[Probe], singles: Sequence[Probe], unit: float) -> dict[str, Any]:
    """The table of layers, the findings, and the whole step's differences."""
    check_same_layers([reference, *exacts, *singles])
    calls = reference.answer["calls"]
    rows, findings = [], []
    for number, call in enumerate(calls):
        measured = [measure(name, reference, exacts, singles, unit) for name in names_of(reference, number)]
        found = shape_findings(call["name"], number, singles) or layer_findings(number, measured, singles)
        findings += found
        rows.append(row_of(number, call, measured, singles, reference, faulty=bool(found)))
    whole = whole_step(reference, singles, unit)
    mixing = [mixing_row(name, reference, singles) for name in ("mixing/0", "mixing/1")]
    findings += [row["finding"] for row in (*mixing, *whole) if row["finding"] and not findings]
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
    first = [call["name"] for call in probes[0].answer["calls"]]
    for probe in probes[1:]:
        own = [call["name"] for call in probe.answer["calls"]]
        if own != first:
            pairs = [pair for pair in zip(first, own, strict=False) if pair[0] != pair[1]]
            one, other = pairs[0] if pairs else (f"{len(first)} layers", f"{len(own)} layers")
            raise ValueError(
                f"the recipe's model() builds other layers on {probe.backend} ({other}) than on {probes[0].backend} "
                f"({one}); a recipe must give one network on every backend"
            )


def names_of(reference: Probe, number: int) -> list[str]:
    """The quantities of layer `number` alone that the reference has, such as out/3/0."""
    return [
        f"{kind}/{number}/{k}"
        for kind in WORDS
        for k in range(len(reference.arrays))
        if f"alone/{kind}/{number}/{k}" in reference.arrays
    ]


def measure(name: str, reference: Probe, exacts: Sequence[Probe], singles: Sequence[Probe], unit: float) -> Measured:
    key, exact_of = f"alone/{name}", {probe.backend: probe for probe in (*exacts, reference)}
    scale = reference.arrays[key]

    def apart(one: Probe, other: Probe) -> float:
        missing = key not in one.arrays or key not in other.arrays
        return float("inf") if missing else relative(one.arrays[key], other.arrays[key], scale)

    moved = relative(reference.arrays[f"moved-alone/{name}"], scale, scale)
    yardstick = max(unit, moved)
    errors = {probe.label: apart(probe, exact_of[probe.backend]) for probe in singles}
    backend_of = {probe.label: probe.backend for probe in singles}
    tolerances = {}
    for label in errors:
        others = [error for name, error in errors.items() if backend_of[name] != backend_of[label]]
        allowed = FACTOR * max(yardstick, min([e for e in others if np.isfinite(e)], default=0.0))
        tolerances[label] = min(LARGEST, allowed)
    exact = max((apart(probe, reference) for probe in exacts), default=0.0)
    between = apart(singles[0], singles[1]) if len(singles) > 1 else 0.0
    exact_tolerance = EXACT_FACTOR * yardstick * SINGLE / unit  # float64 does not know the recipe's precision
    return Measured(name.partition("/")[0], exact, errors, between, exact_tolerance, tolerances)


def shape_findings(layer: str, number: int, singles: Sequence[Probe]) -> list[dict[str, Any]]:
    shapes = {probe.label: probe.answer["calls"][number]["shapes"] for probe in singles}
    if len({str(shape) for shape in shapes.values()}) < 2:
        return []
    words = ", ".join(f"{shape} on {label}" for label, shape in shapes.items())
    return [finding(layer, "shape", f"its output has the shape {words}{other_settings(number, singles)}")]


def layer_findings(number: int, measured: Sequence[Measured], singles: Sequence[Probe]) -> list[dict[str, Any]]:
    """At most one finding: the quantity of a layer that is furthest beyond its tolerance."""
    worst = max(measured, key=lambda one: one.strain, default=None)
    name = singles[0].answer["calls"][number]["name"]
    if worst is None or worst.strain <= 1:
        return []
    word = WORDS[worst.quantity]
    if worst.different:
        text = (
            f"the backends compute different functions: in float64, given the same inputs, its {word} differs by "
            f"{worst.exact:.1e} (rounding explains {worst.exact_tolerance:.1e}){other_settings(number, singles)}"
        )
        return [finding(name, worst.quantity, text)]
    label = worst.careless[0]
    text = (
        f"inexact on {label}: given the same inputs, its {word} is off by {worst.errors[label]:.1e} from float64 "
        f"(tolerance {worst.tolerances[label]:.1e}){other_settings(number, singles)}"
    )
    return [finding(name, worst.quantity, text)]


def finding(layer: str, quantity: str, text: str) -> dict[str, Any]:
    return {"layer": layer, "quantity": quantity, "text": f"{layer}: {text}"}


def other_settings(number: int, singles: Sequence[Probe]) -> str:
    """What the layer's configurations on the backends differ in, as the end of a sentence."""
    calls = [(probe.label, probe.answer["calls"][number]) for probe in singles]
    first, *others = [(label, {"kind": call["kind"], **call["config"]}) for label, call in calls]
    for label, config in others:
        for name in sorted(first[1].keys() & config.keys()):
            if first[1][name] != config[name]:
                return f"; {name} is {first[1][name]} on {first[0]} and {config[name]} on {label}"
    return ""


def row_of(
    number: int,
    call: Mapping[str, Any],
    measured: Sequence[Measured],
    singles: Sequence[Probe],
    reference: Probe,
    *,
    faulty: bool,
) -> dict[str, Any]:
    worst = max(measured, key=lambda one: one.strain, default=None)
    return {
        "number": number,
        "layer": call["name"],
        "kind": call["kind"],
        "output": step_difference(f"out/{number}/0", singles, reference),
        "output_rounding": moved_step(f"out/{number}/0", reference),
        "gradient": step_difference(f"gradient/{number}/0", singles, reference),
        "gradient_rounding": moved_step(f"gradient/{number}/0", reference),
        "weights": list(weight_rows(number, singles, reference)),
        "alone": {WORDS[one.quantity]: asdict(one) for one in measured},
        "exact": max((one.exact for one in measured), default=None),
        "errors": {probe.label: max((one.errors[probe.label] for one in measured), default=None) for probe in singles},
        "strain": None if worst is None else worst.strain,
        "float64": call["precision"] in (None, "float64"),
        "checked": bool(measured),
        "faulty": faulty,
    }


def weight_rows(number: int, singles: Sequence[Probe], reference: Probe) -> Iterator[dict[str, Any]]:
    for k, weight in enumerate(reference.answer["weights"]):
        if weight["call"] == number:
            yield {
                "path": weight["path"],
                "gradient": step_difference(f"weight/{k}", singles, reference),
                "rounding": moved_step(f"weight/{k}", reference),
            }


def step_difference(name: str, singles: Sequence[Probe], reference: Probe) -> dict[str, float] | None:
    """In the whole step, relative to the reference: the difference between the labels, and each to float64."""
    key = f"step/{name}"
    if any(key not in probe.arrays for probe in (reference, *singles)):
        return None
    scale = reference.arrays[key]
    found = {probe.label: relative(probe.arrays[key], scale, scale) for probe in singles}
    pair = [probe.arrays[key] for probe in singles[:2]]
    return {"between": relative(pair[0], pair[-1], scale), **found}


def moved_step(name: str, reference: Probe) -> float | None:
    """What simulated rounding of every layer's output does to a quantity of the whole step in float64."""
    if f"step/{name}" not in reference.arrays:
        return None
    scale = reference.arrays[f"step/{name}"]
    return relative(reference.arrays[f"moved-step/{name}"], scale, scale)


def whole_step(reference: Probe, singles: Sequence[Probe], unit: float) -> list[dict[str, Any]]:
    """Logits, loss, and all gradients of weights together, after all layers."""
    last = len(reference.answer["calls"]) - 1
    count = len(reference.answer["weights"])
    logits = {"logits": [f"step/out/{last}/0"], "loss": ["step/loss"]}
    chosen = logits | {"gradients of all weights": [f"step/weight/{k}" for k in range(count)]}
    return [whole_row(name, keys, reference, singles, unit) for name, keys in chosen.items() if keys]


def whole_row(
    name: str, keys: Sequence[str], reference: Probe, singles: Sequence[Probe], unit: float
) -> dict[str, Any]:
    def joined(arrays: Arrays, prefix: str = "") -> np.ndarray:
        return np.concatenate([arrays[prefix + key].ravel() for key in keys])

    scale = joined(reference.arrays)
    moved = relative(joined(reference.arrays, "moved-"), scale, scale)
    found = {probe.label: relative(joined(probe.arrays), scale, scale) for probe in singles}
    pair = [joined(probe.arrays) for probe in singles[:2]]
    tolerance = FACTOR * max(unit, moved)
    beyond = [label for label, error in found.items() if not error <= tolerance]
    text = f"{name} off by {found[beyond[0]]:.1e} on {beyond[0]}" if beyond else ""
    return {
        "name": name,
        "between": relative(pair[0], pair[-1], scale),
        "errors": found,
        "rounding": moved,
        "tolerance": tolerance,
        "finding": finding("the whole step", name, f"{text} (tolerance {tolerance:.1e})") if beyond else None,
    }


def mixing_row(name: str, reference: Probe, singles: Sequence[Probe]) -> dict[str, Any]:
    scale, tolerance = reference.arrays[name], FACTOR * SINGLE
    found = {probe.label: relative(probe.arrays[name], scale, scale) for probe in singles}
    beyond = [label for label, error in found.items() if not error <= tolerance]
    what = {"mixing/0": "mixed images", "mixing/1": "mixed labels"}[name]
    text = f"the {what} are off by {found[beyond[0]]:.1e} on {beyond[0]} (tolerance {tolerance:.1e})" if beyond else ""
    pair = [probe.arrays[name] for probe in singles[:2]]
    return {
        "name": what,
        "between": relative(pair[0], pair[-1], scale),
        "errors": found,
        "tolerance": tolerance,
        "finding": finding("the batch layers", "mixing", text) if beyond else None,
    }
