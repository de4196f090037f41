"""Lists of values: what `--set` asks for, or the recipe's own `sweep()`, as texts for `kcomp train --set`."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kcomp.recipe import Loaded
from kcomp.values import as_text, known, parse_values, plain_types, value_types

COMMA = re.compile(r"(?<!\\),")


def variants(loaded: Loaded, assignments: Sequence[str]) -> list[dict[str, str]]:
    """Each combination of values as text by name, in the order given; without a list, the recipe's `sweep()`.

    Raises ValueError for names and values that the recipe does not take, and for a `sweep()` that is none.
    """
    lists = value_lists(loaded.recipe.config, assignments)
    product = [dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())]
    for texts in product:
        parse_values(loaded.recipe.config, [f"{name}={text}" for name, text in texts.items()])
    if len(product) > 1 or loaded.recipe.sweep is None:
        return product
    return [{**variant, **product[0]} for variant in own(loaded)]


def value_lists(values: Any, assignments: Sequence[str]) -> dict[str, list[str]]:
    """The texts of each name: commas stand between values, but belong to a value that is declared as a tuple; `\\,` is
    a comma in a text; a name that is given again adds to its list."""
    declared = value_types(values)
    found: dict[str, list[str]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set takes name=value,value,...; received {assignment!r}")
        whole = tuple in plain_types(declared[known(name, values)])
        texts = [text] if whole else [part.replace("\\,", ",") for part in COMMA.split(text)]
        found.setdefault(name, []).extend(texts)
    return {name: list(dict.fromkeys(texts)) for name, texts in found.items()}


def own(loaded: Loaded) -> list[dict[str, str]]:
    """What the recipe's `sweep()` asks for, as texts."""
    asked = loaded.recipe.sweep() if loaded.recipe.sweep else None
    if not isinstance(asked, Sequence) or not asked or not all(isinstance(one, Mapping) for one in asked):
        raise ValueError(
            "the recipe's sweep() must return a list of dicts of values, such as [{'image_size': 160}]; "
            f"it returned {asked!r}"
        )
    return [texts_of(loaded, one) for one in asked]


def texts_of(loaded: Loaded, changes: Mapping[str, Any]) -> dict[str, str]:
    """Values as `--set` reads them; ValueError for one that has no such text, as the text "none" where None may be."""
    wanted = loaded.recipe.with_values(**changes).config
    texts = {name: as_text(value) for name, value in changes.items()}
    read = parse_values(loaded.recipe.config, [f"{name}={text}" for name, text in texts.items()])
    for name, value in read.items():
        if value != getattr(wanted, name):
            raise ValueError(f"sweep(): --set cannot say {name}={getattr(wanted, name)!r}; it would read {value!r}")
    return texts
