"""Ranges for `kcomp tune`, declared with a recipe's values. Imports neither Keras nor Optuna.

    @dataclass(frozen=True)
    class Config:
        peak_rate: Annotated[float, space.LogUniform(1e-4, 1e-2)] = 1e-3
        image_size: Annotated[int, space.Choice(160, 224)] = 160

`Annotated` changes neither the value nor its type: everything but `kcomp tune` overlooks it.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kcomp.values import check_type, describe, known, plain_types, value_types


@dataclass(frozen=True)
class Uniform:
    """A float from `low` to `high`, both included, equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        check_bounds(self, self.low, self.high)

    def has(self, value: Any) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class LogUniform(Uniform):
    """A float from `low` to `high`, above 0, whose logarithm is equally likely: for rates and decays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise ValueError(f"{self!r} needs bounds above 0; for a range from 0 take Uniform")


@dataclass(frozen=True)
class Integer:
    """A whole number low, low + step, ... up to `high`."""

    low: int
    high: int
    _: dataclasses.KW_ONLY
    step: int = 1

    def __post_init__(self) -> None:
        if not all(isinstance(value, int) for value in (self.low, self.high, self.step)):
            raise ValueError(f"{self!r} takes whole numbers; for fractions take Uniform")
        check_bounds(self, self.low, self.high)
        if self.step < 1 or (self.high - self.low) % self.step:
            raise ValueError(f"{self!r} must reach its high end in steps of 1 or more")

    def has(self, value: Any) -> bool:
        return self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True, init=False)
class Choice:
    """One of these values, without an order: numbers, texts, booleans, None or tuples of them."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)
        if len(set(values)) < max(2, len(values)):
            raise ValueError(f"Choice takes two different values or more; received {values}")

    def __repr__(self) -> str:
        return f"Choice{self.values!r}"

    def has(self, value: Any) -> bool:
        return value in self.values


Range = Uniform | Integer | Choice


def check_bounds(found: Any, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{found!r} must go from a lower to a higher finite number")


def ranges(values: Any, fixed: Mapping[str, Any] | None = None) -> dict[str, Range]:
    """The range of each value that has one and is not `fixed`, by name.

    ValueError for a range that does not fit its value's type, or leaves out the value the recipe gives; for a name
    in `fixed` that the values lack, with the nearest.
    """
    fixed = {known(name, values): value for name, value in (fixed or {}).items()}
    found = {}
    for name, hint in typing.get_type_hints(type(values), include_extras=True).items():
        inside = list(declared_in(hint))
        if not inside or name in fixed:
            continue
        outermost = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Range)]
        if len(inside) > 1 or inside != outermost:
            raise ValueError(f"{name} must be declared as {name}: Annotated[TYPE, RANGE], with one range; it is {hint}")
        check_range(name, inside[0], value_types(values)[name], getattr(values, name))
        found[name] = inside[0]
    return found


def declared_in(hint: Any) -> typing.Iterator[Any]:
    """Ranges anywhere in a type; ValueError for a range without its bounds, such as `space.Uniform`."""
    for part in typing.get_args(hint):  # of Annotated: the type, then what stands beside it
        if any(part is kind for kind in (Uniform, LogUniform, Integer, Choice)):
            raise ValueError(f"space.{part.__name__} needs its bounds or values, such as space.Uniform(0.0, 0.5)")
        if isinstance(part, Range):
            yield part
        else:
            yield from declared_in(part)


def check_range(name: str, found: Range, declared: Any, value: Any) -> None:
    """Raise ValueError unless the range holds only values of the declared type, and the one that stands beside it."""
    ends = found.values if isinstance(found, Choice) else (found.low, found.high)
    for end in ends:
        check_type(f"{name}: each value of {found!r}", end, declared)
    if isinstance(found, Uniform) and not {float, Any} & set(plain_types(declared)):
        raise ValueError(f"{name} is declared as {describe(declared)}, and {found!r} gives floats; take space.Integer")
    if not found.has(value):
        raise ValueError(f"{name} is {value!r}, outside its own range {found!r}; the search begins with that value")
