"""Ranges of values in which `kcomp tune` searches. A recipe declares a range together with a value:

    @dataclass(frozen=True)
    class Config:
        peak_rate: Annotated[float, space.LogUniform(1e-4, 1e-2)] = 1e-3
        image_size: Annotated[int, space.Choice(160, 224)] = 160

`Annotated` changes neither the value nor its type.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kcomp.values import check_type, describe, expect_name, plain_types, value_types


@dataclass(frozen=True)
class Uniform:
    """A range of floats. The search draws a value uniformly between the bounds.

    Args:
        low: Lowest value, included.
        high: Highest value, included.

    Raises:
        ValueError: If the bounds are not finite, or `low` is not below `high`.

    Examples:
        >>> from dataclasses import dataclass
        >>> from typing import Annotated
        >>> from kcomp import space
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     dropout: Annotated[float, space.Uniform(0.0, 0.5)] = 0.2
        >>> list(space.ranges(Config()))
        ['dropout']
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_bounds(self, self.low, self.high)

    def has(self, value: Any) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class LogUniform(Uniform):
    """A range of floats, such as learning rates. The search draws the logarithm of a value uniformly.

    Args:
        low: Lowest value, above 0, included.
        high: Highest value, included.

    Raises:
        ValueError: If the bounds are not finite and above 0, or `low` is not below `high`.

    Examples:
        >>> from dataclasses import dataclass
        >>> from typing import Annotated
        >>> from kcomp import space
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     peak_rate: Annotated[float, space.LogUniform(1e-4, 1e-2)] = 1e-3
        >>> list(space.ranges(Config()))
        ['peak_rate']
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise ValueError(f"{self!r} needs bounds above 0; for a range from 0 take Uniform")


@dataclass(frozen=True)
class Integer:
    """A range of whole numbers with equal steps.

    Args:
        low: Lowest value, included.
        high: Highest value, included. It must be a whole number of steps above `low`.
        step: Distance between two values, from 1.

    Raises:
        ValueError: If an argument is not a whole number, or is out of range.

    Examples:
        >>> from dataclasses import dataclass
        >>> from typing import Annotated
        >>> from kcomp import space
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     epochs: Annotated[int, space.Integer(4, 12, step=2)] = 8
        >>> list(space.ranges(Config()))
        ['epochs']
    """

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
    """A set of values without an order, such as image sizes. The search chooses one of them.

    Args:
        *values: At least two different values. Each is a number, a text, a boolean, None, or a tuple of these.

    Raises:
        ValueError: If there are fewer than two values, or a value is repeated.

    Examples:
        >>> from dataclasses import dataclass
        >>> from typing import Annotated
        >>> from kcomp import space
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     image_size: Annotated[int, space.Choice(160, 224)] = 160
        >>> list(space.ranges(Config()))
        ['image_size']
    """

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

__all__ = ["Choice", "Integer", "LogUniform", "Uniform", "ranges"]


def check_bounds(range_: Any, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{range_!r} must go from a lower to a higher finite number")


def ranges(values: Any, fixed: Mapping[str, Any] | None = None) -> dict[str, Range]:
    """Return the ranges that a config declares, by the name of the value.

    Args:
        values: An instance of a recipe's config dataclass.
        fixed: Values whose ranges are left out, by name. None leaves out no range.

    Raises:
        ValueError: If a range does not fit the declared type, a value is outside its range, or `fixed` has an unknown
            name.

    Examples:
        >>> from dataclasses import dataclass
        >>> from typing import Annotated
        >>> from kcomp import space
        >>> @dataclass(frozen=True)
        ... class Config:
        ...     epochs: Annotated[int, space.Integer(4, 12)] = 8
        >>> space.ranges(Config())
        {'epochs': Integer(low=4, high=12, step=1)}
    """
    fixed = {expect_name(name, values): value for name, value in (fixed or {}).items()}
    by_name = {}
    for name, hint in typing.get_type_hints(type(values), include_extras=True).items():
        inside = list(declared_in(hint))
        if not inside or name in fixed:
            continue
        outermost = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Range)]
        if len(inside) > 1 or inside != outermost:
            raise ValueError(f"{name} must be declared as {name}: Annotated[TYPE, RANGE], with one range; it is {hint}")
        check_range(name, inside[0], value_types(values)[name], getattr(values, name))
        by_name[name] = inside[0]
    return by_name


def declared_in(hint: Any) -> typing.Iterator[Any]:
    """Yield each range that is declared in a type, such as `Annotated[float, space.Uniform(0, 1)]`.

    Raises:
        ValueError: If a range lacks its bounds, such as `space.Uniform` without brackets.
    """
    for part in typing.get_args(hint):  # the arguments of Annotated are the type and the ranges
        if any(part is kind for kind in (Uniform, LogUniform, Integer, Choice)):
            raise ValueError(f"space.{part.__name__} needs its bounds or values, such as space.Uniform(0.0, 0.5)")
        if isinstance(part, Range):
            yield part
        else:
            yield from declared_in(part)


def check_range(name: str, range_: Range, declared: Any, value: Any) -> None:
    """Raise ValueError unless a range is valid for a field of a recipe's config.

    Args:
        name: The name of the field.
        range_: The range. It must include `value`, and all its values must have the type `declared`.
        declared: The declared type of the field.
        value: The field's value.
    """
    ends = range_.values if isinstance(range_, Choice) else (range_.low, range_.high)
    for end in ends:
        check_type(f"{name}: each value of {range_!r}", end, declared)
    if isinstance(range_, Uniform) and not {float, Any} & set(plain_types(declared)):
        raise ValueError(f"{name} is declared as {describe(declared)}, and {range_!r} gives floats; take space.Integer")
    if not range_.has(value):
        raise ValueError(f"{name} is {value!r}, outside its own range {range_!r}; the search begins with that value")
