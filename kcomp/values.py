"""A recipe's values (its Config): their declared types, how to parse them, and how to store them as JSON."""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def value_types(values: Any) -> dict[str, Any]:
    """Return the declared types of the values by name."""
    hints = typing.get_type_hints(type(values))
    return {field.name: hints[field.name] for field in dataclasses.fields(values)}


def values_as_json(values: Any) -> dict[str, Any]:
    """Return the values as a dict for a JSON file. Raise TypeError for a value that JSON cannot store."""
    return json.loads(json.dumps(dataclasses.asdict(values)))


def values_from_json(values: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that `values_as_json` stored, with tuples where `values` declares tuples."""
    declared = value_types(values)
    return {
        expect_name(name, values): tuple(value)
        if isinstance(value, list) and tuple in plain_types(declared[name])
        else value
        for name, value in stored.items()
    }


def parse_values(values: Any, assignments: Sequence[str]) -> dict[str, Any]:
    """Parse `name=value` texts into values of the declared types. Raise ValueError for a wrong name or value."""
    declared, changes = value_types(values), {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set takes name=value; received {assignment!r}")
        changes[name] = parse_value(name, text, declared[expect_name(name, values)])
    return changes


def expect_name(name: str, values: Any) -> str:
    names = [field.name for field in dataclasses.fields(values)]
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
        raise ValueError(f"the recipe has no value {name!r}; {hint}")
    return name


def parse_value(name: str, text: str, declared: Any) -> Any:
    """Parse a text as the type `declared`. Raise ValueError for an invalid text or an unsupported type.

    Supported types are str, int, float, bool (true or false), Literal, X | None (none) and tuple[X, ...] (separated by
    commas).
    """
    kinds = alternatives(declared)
    if len(kinds) > 1:
        if text.lower() == "none" and type(None) in kinds:
            return None
        return parse_value(name, text, next(kind for kind in kinds if kind is not type(None)))
    if typing.get_origin(declared) is typing.Literal:
        if text not in map(str, literals(declared)):
            raise ValueError(f"{name} must be one of {', '.join(map(str, literals(declared)))}; received {text!r}")
        return next(value for value in literals(declared) if str(value) == text)
    if typing.get_origin(declared) is tuple:
        inner = (*typing.get_args(declared), str)[0]
        return tuple(parse_value(name, part.strip(), inner) for part in text.split(",") if part.strip())
    if declared is bool:
        if text.lower() in ("true", "1", "yes"):
            return True
        if text.lower() in ("false", "0", "no"):
            return False
        raise ValueError(f"{name} must be true or false; received {text!r}")
    if declared in (int, float, str):
        try:
            return declared(text)
        except ValueError:
            raise ValueError(f"{name} must be {describe(declared)}; received {text!r}") from None
    raise ValueError(f"{name} is declared as {describe(declared)}, which --set cannot read; change the recipe")


def as_text(value: Any) -> str:
    """Return a value as a text that `parse_value` reads, such as none, true or 1,2,3. Floats keep all digits."""
    if isinstance(value, tuple | list):
        return ",".join(map(as_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def check_type(name: str, value: Any, declared: Any) -> None:
    """Raise ValueError unless `value` has the declared type. A whole number is valid as a float."""
    for plain in plain_types(declared):
        if plain is typing.Literal and value in literals(declared):
            return
        if plain is typing.Literal:
            continue
        if plain is Any or (plain is float and isinstance(value, int) and not isinstance(value, bool)):
            return
        if isinstance(value, plain) and not (isinstance(value, bool) and plain in (int, float)):
            return
    raise ValueError(f"{name} must be {describe(declared)}; received {value!r}")


def alternatives(declared: Any) -> tuple[Any, ...]:
    """Return the types of a union such as int | None. For another type, return a tuple of this type."""
    union = typing.get_origin(declared) in (typing.Union, types.UnionType)
    return typing.get_args(declared) if union else (declared,)


def plain_types(declared: Any) -> list[Any]:
    """Return the types of a union without their arguments, such as tuple for tuple[int, ...]."""
    return [typing.get_origin(kind) or kind for kind in alternatives(declared)]


def literals(declared: Any) -> list[Any]:
    return [value for kind in alternatives(declared) for value in typing.get_args(kind)]


def describe(declared: Any) -> str:
    """Return the text for a type in `kcomp train RECIPE --help`."""
    text = str(getattr(declared, "__name__", declared)) if not typing.get_args(declared) else str(declared)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=\w)", "", text)  # removes module names


def expect_type(kind: type, name: str, value: Any) -> Any:
    """Check the value that the recipe's function `name` returned. Return it, or raise ValueError for a wrong type."""
    if not isinstance(value, kind):
        raise ValueError(f"the recipe's {name}() must return a {kind.__name__}; it returned {type(value).__name__}")
    return value
