"""The values in a recipe's config: their declared types, how to parse texts, and how to store values as JSON."""

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def value_types(values: Any) -> dict[str, Any]:
    """Return the declared type of each field of a dataclass, such as a recipe's config, by name."""
    hints = typing.get_type_hints(type(values))
    return {field.name: hints[field.name] for field in dataclasses.fields(values)}


def values_as_json(values: Any) -> dict[str, Any]:
    """Return the values of a config for a JSON file. Raise TypeError if JSON cannot store a value."""
    return json.loads(json.dumps(dataclasses.asdict(values)))


def values_from_json(values: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return values from a JSON file as a dict, converted to the types that a config declares.

    Args:
        values: The config.
        stored: The content of the JSON file, by name.
    """
    declared = value_types(values)
    return {
        expect_name(name, values): tuple(value)
        if isinstance(value, list) and tuple in plain_types(declared[name])
        else value
        for name, value in stored.items()
    }


def parse_values(values: Any, assignments: Sequence[str]) -> dict[str, Any]:
    """Parse texts such as "image_size=160". Return the values by name, with their declared types.

    Args:
        values: The config that declares the types.
        assignments: The texts.

    Raises:
        ValueError: If the config has no value of this name, or a text is not a value of the declared type.
    """
    declared, changes = value_types(values), {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set takes name=value; received {assignment!r}")
        changes[name] = parse_value(name, text, declared[expect_name(name, values)])
    return changes


def expect_name(name: str, values: Any) -> str:
    """Return `name` if the config has a value of this name. Otherwise, raise ValueError with the most similar name."""
    names = [field.name for field in dataclasses.fields(values)]
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
        raise ValueError(f"the recipe has no value {name!r}; {hint}")
    return name


def parse_value(name: str, text: str, declared: Any) -> Any:
    """Parse a text as a value of the type `declared`.

    The type may be str, int, float, bool (texts true, false), Literal, X | None (text none) or tuple[X, ...] (texts
    separated by commas).

    Raises:
        ValueError: If the text is invalid, or the type is another one.
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
    """Convert a value to a text that `parse_value` converts back: "none", "true" or "1,2,3" for (1, 2, 3)."""
    if isinstance(value, tuple | list):
        return ",".join(map(as_text, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def check_type(name: str, value: Any, declared: Any) -> None:
    """Raise ValueError unless `value` has the type `declared`. A whole number is also valid as a float."""
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
    """Return the types in a union such as int | None, or a tuple with the type itself."""
    union = typing.get_origin(declared) in (typing.Union, types.UnionType)
    return typing.get_args(declared) if union else (declared,)


def plain_types(declared: Any) -> list[Any]:
    """Return the types in a union without type arguments: [tuple, NoneType] for tuple[int, ...] | None."""
    return [typing.get_origin(kind) or kind for kind in alternatives(declared)]


def literals(declared: Any) -> list[Any]:
    """Return the values that the Literal types in `declared` allow."""
    return [value for kind in alternatives(declared) for value in typing.get_args(kind)]


def describe(declared: Any) -> str:
    """Return the name of a type as text, without module names."""
    text = str(getattr(declared, "__name__", declared)) if not typing.get_args(declared) else str(declared)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=\w)", "", text)  # removes module names


def expect_type(kind: type, name: str, value: Any) -> Any:
    """Return `value` if it has the type `kind`. Otherwise, raise ValueError.

    Args:
        kind: The type.
        name: The name of the recipe's function that returned the value, for the error message.
        value: The returned value.
    """
    if not isinstance(value, kind):
        raise ValueError(f"the recipe's {name}() must return a {kind.__name__}; it returned {type(value).__name__}")
    return value


def check_values(config: Any) -> None:
    """Raise ValueError unless each value has its declared type and can be stored in a JSON file without a change.

    `kcomp predict` reads the values from the file config.json of a run.

    config: an instance of a dataclass.
    """
    for name, kind in value_types(config).items():
        check_type(name, getattr(config, name), kind)
    restored = values_from_json(config, values_as_json(config))
    lost = [name for name, value in restored.items() if value != getattr(config, name)]
    if lost:
        raise ValueError(
            f"the value {lost[0]} cannot be kept in a file; use numbers, texts, booleans, None or tuples of them"
        )
