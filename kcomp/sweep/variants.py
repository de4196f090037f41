"""List the combinations of a recipe's values that a sweep trains.

They come from the options `--set name=value,value` or from the recipe's function `sweep()`.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kcomp.recipe import Loaded
from kcomp.values import as_text, expect_name, parse_values, plain_types, value_types

COMMA = re.compile(r"(?<!\\),")


def variants(loaded: Loaded, assignments: Sequence[str]) -> list[dict[str, str]]:
    """Return all combinations of values that a sweep trains, as texts by name.

    If no option has several values, the recipe's function `sweep()` lists the combinations, to which the options are
    added.

    Args:
        loaded: The recipe.
        assignments: Texts such as "image_size=160,224", one for each option `--set`.

    Raises:
        ValueError: If the recipe does not accept a name or a value, or `sweep()` does not return dicts.
    """
    lists = value_lists(loaded.recipe.config, assignments)
    product = [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]
    for texts in product:
        parse_values(loaded.recipe.config, [f"{name}={text}" for name, text in texts.items()])
    if len(product) > 1 or loaded.recipe.sweep is None:
        return product
    return [{**variant, **product[0]} for variant in recipe_variants(loaded)]


def value_lists(values: Any, assignments: Sequence[str]) -> dict[str, list[str]]:
    """Split the values of the options `--set` at commas: "size=160,224" gives {"size": ["160", "224"]}.

    Commas written as `\\,`, and commas of tuples, do not separate values.

    Args:
        values: The recipe's config.
        assignments: One text for each option `--set`.
    """
    declared = value_types(values)
    texts_by_name: dict[str, list[str]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set takes name=value,value,...; received {assignment!r}")
        is_tuple = tuple in plain_types(declared[expect_name(name, values)])
        texts = [text] if is_tuple else [part.replace("\\,", ",") for part in COMMA.split(text)]
        texts_by_name.setdefault(name, []).extend(texts)
    return {name: list(dict.fromkeys(texts)) for name, texts in texts_by_name.items()}


def recipe_variants(loaded: Loaded) -> list[dict[str, str]]:
    """Return the combinations that the recipe's function `sweep()` returns, with all values as texts."""
    changes = loaded.recipe.sweep() if loaded.recipe.sweep else None
    if not isinstance(changes, Sequence) or not changes or not all(isinstance(change, Mapping) for change in changes):
        raise ValueError(
            "the recipe's sweep() must return a list of dicts of values, such as [{'image_size': 160}]; "
            f"it returned {changes!r}"
        )
    return [texts_of(loaded, change) for change in changes]


def texts_of(loaded: Loaded, changes: Mapping[str, Any]) -> dict[str, str]:
    """Convert values to texts that `--set` converts back to the values.

    Raises:
        ValueError: If `--set` would read another value from the text.
    """
    expected = loaded.recipe.with_values(**changes).config
    texts = {name: as_text(value) for name, value in changes.items()}
    parsed = parse_values(loaded.recipe.config, [f"{name}={text}" for name, text in texts.items()])
    for name, value in parsed.items():
        if value != getattr(expected, name):
            raise ValueError(
                f"sweep(): --set cannot express {name}={getattr(expected, name)!r}; it would read {value!r}"
            )
    return texts
