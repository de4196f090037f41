"""Compute how much a layer's results differ between the backends, and the largest allowed differences.

Every backend runs each layer on the same inputs, in float64 and in the recipe's precision. Differences are relative.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.compare.sketch import distance

# In float64, the allowed difference is EXACT_FACTOR times the change caused by rounding the layer's inputs to the
# recipe's precision. The error of a backend is its difference between the recipe's precision and float64. The allowed
# error is FACTOR times the largest of three numbers: the rounding unit, the change caused by moving each input by up to
# that unit, and the other backend's error. A sum of n terms added one by one loses about sqrt(n) units, and
# 256 = sqrt(65,536).
EXACT_FACTOR, FACTOR = 8.0, 256.0
LARGEST = 0.9  # the highest tolerance of a result that is not noise; an output of zeros has an error of 1
NOISE = 4.0  # a result is noise if it is less than this many times the change that rounding causes
# The difference of a weight's gradient is divided by the norm of the gradient of all weights of the layer, but at least
# by FLOOR times that of all weights of the network. Some weights have a true gradient of zero, such as a bias before
# normalization. Their computed gradients are rounding noise.
FLOOR = 1e-3
SINGLE = 2.0**-23  # the rounding unit of float32
UNITS = {"mixed_bfloat16": 2.0**-8, "mixed_float16": 2.0**-11}  # rounding units of the compute dtypes
QUANTITIES = {
    "out": "output",
    "state": "new statistics",
    "in": "gradient of its inputs",
    "weight": "gradient of its weights",
}
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Probe:
    """The results of one process that measures a backend.

    Attributes:
        label: The backend's name in the report, such as "jax again".
        backend: "jax" or "torch".
        answer: The numbers and texts of the results.
        arrays: The arrays of the results, by name.
    """

    label: str
    backend: str
    answer: Mapping[str, Any]
    arrays: Arrays


@dataclass(frozen=True)
class Measurement:
    """The relative differences in one result of one layer, and the largest allowed differences.

    Attributes:
        quantity: The kind of the result, a key of QUANTITIES.
        exact: The difference between the backends in float64.
        errors: The difference between the recipe's precision and float64, by name of the backend.
        between: The difference between the backends in the recipe's precision.
        exact_tolerance: The largest allowed `exact`.
        tolerances: The largest allowed error, by name of the backend.
    """

    quantity: str
    exact: float
    errors: dict[str, float]
    between: float
    exact_tolerance: float
    tolerances: dict[str, float]

    @property
    def is_different(self) -> bool:
        return not self.exact <= self.exact_tolerance

    @property
    def inexact_labels(self) -> list[str]:
        return [label for label, error in self.errors.items() if not error <= self.tolerances[label]]

    @property
    def used_tolerance(self) -> float:
        """The largest ratio of a difference to its tolerance. If it is above 1, the report lists the layer as
        faulty.
        """
        ratios = [self.exact / self.exact_tolerance if self.exact else 0.0]
        ratios += [error / self.tolerances[label] if error else 0.0 for label, error in self.errors.items()]
        return float(np.nan_to_num(max(ratios), nan=0.0))


def unit_of(precision: str, device: str = "cpu") -> float:
    """Return the relative rounding unit of a precision: 2**-23 for float32. On a CPU, "tensorfloat32" is float32."""
    if precision == "tensorfloat32" and device.lower() != "cpu":
        return 2.0**-10
    return UNITS.get(precision, SINGLE)


def result_names(reference: Probe, number: int) -> list[str]:
    """Return the names of the results of layer `number` in the reference, such as out/3/0 for output 0 of layer 3."""
    return [name for quantity in QUANTITIES for name in group(reference, quantity, number)]


def group(reference: Probe, quantity: str, number: int) -> list[str]:
    names = (f"{quantity}/{number}/{k}" for k in range(len(reference.arrays)))
    return [name for name in names if f"alone/{name}" in reference.arrays]


def norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.linalg.norm(array)) ** 2 for array in arrays)))


def relative_to(size: float, difference: float) -> float:
    """Return difference / size. If the difference is 0, return 0, even if the size is 0."""
    if difference == 0:
        return 0.0
    return difference / size if size > 0 else float("inf")


def result_size(name: str, reference: Probe) -> float:
    """Return the norm by which differences of a result are divided.

    For a gradient, it is the norm of the gradients of all weights, or of all inputs, of the layer.
    """
    quantity, number, _ = name.split("/")
    if quantity not in ("in", "weight"):
        return norm([reference.arrays[f"alone/{name}"]])
    size = norm([reference.arrays[f"alone/{other}"] for other in group(reference, quantity, int(number))])
    return max(size, FLOOR * network_gradient(reference)) if quantity == "weight" else size


def network_gradient(reference: Probe) -> float:
    """Return the norm of the gradients of all weights, computed by layers that run alone."""
    return norm([array for name, array in reference.arrays.items() if name.startswith("alone/weight/")])


def measure(name: str, reference: Probe, exacts: Sequence[Probe], singles: Sequence[Probe], unit: float) -> Measurement:
    """Return the differences in one result of one layer, between backends and between precisions.

    Args:
        name: The name of the result, such as out/3/0 for output 0 of layer 3.
        reference: The float64 results of the reference process, which stored the inputs of every layer.
        exacts: The float64 results of the other backends.
        singles: The results of both backends in the recipe's precision.
        unit: The relative rounding unit of the recipe's precision.
    """
    key, exact_of = f"alone/{name}", {probe.backend: probe for probe in (*exacts, reference)}
    size = result_size(name, reference)

    def difference(first: Probe, second: Probe) -> float:
        if key not in first.arrays or key not in second.arrays:
            return float("inf")
        return relative_to(size, distance(first.arrays[key], second.arrays[key]))

    change = relative_to(size, distance(reference.arrays[f"moved-{key}"], reference.arrays[key]))
    rounding = max(unit, change)
    largest = LARGEST if NOISE * change < 1 else float("inf")
    errors = {probe.label: difference(probe, exact_of[probe.backend]) for probe in singles}
    backend_of = {probe.label: probe.backend for probe in singles}
    tolerances = {}
    for label in errors:
        others = [error for other, error in errors.items() if backend_of[other] != backend_of[label]]
        allowed = FACTOR * max(rounding, min([error for error in others if np.isfinite(error)], default=0.0))
        tolerances[label] = min(largest, allowed)
    return Measurement(
        quantity=name.partition("/")[0],
        exact=max((difference(probe, reference) for probe in exacts), default=0.0),
        errors=errors,
        between=difference(singles[0], singles[1]) if len(singles) > 1 else 0.0,
        exact_tolerance=EXACT_FACTOR * rounding * SINGLE / unit,  # float64 does not depend on the recipe's precision
        tolerances=tolerances,
    )
