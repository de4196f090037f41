"""The option `--with` of `kcomp ensemble`: further inputs of stacking by trees."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import use_backend
from kcomp.ensembles import TREES
from kcomp.system.errors import UsageError

if TYPE_CHECKING:
    from kcomp.data.tables import Table
    from kcomp.ensembles.inputs import Inputs

KINDS = ("columns", "features")
WITH = (
    "Further inputs of bag, boost and lightgbm: columns of the recipe's tables, or features of a frozen pretrained "
    "network; both are separated by a comma."
)
with_option = click.option("--with", "extras", metavar="columns,features", help=WITH)


def parse_extras(text: str | None, method: str) -> list[str]:
    """Return the kinds of further inputs in the text of `--with`. Raise UsageError if they are unknown or do not fit
    `method`.
    """
    if text is None:
        return []
    kinds = list(dict.fromkeys(text.split(",")))
    if set(kinds) - set(KINDS):
        raise UsageError(f"--with takes columns, features, or both separated by a comma; received {text!r}")
    if method not in TREES:
        raise UsageError(f"--with gives inputs to trees: --method {', '.join(TREES)}; received --method {method}")
    return kinds


def read_inputs(runs: Sequence[Any], kinds: Sequence[str]) -> "Inputs | None":
    """Return further inputs for the rows of the first run's recipe. Return None if `kinds` is empty.

    Raises:
        ValueError: If the recipe has no test rows, or its table has changed since the training.
    """
    if not kinds:
        return None
    use_backend(None, preferred=runs[0].manifest["backend"])
    from kcomp.ensembles.inputs import column_inputs, join_inputs
    from kcomp.system.import_hook import lazy_keras
    from kcomp.system.notices import Notice

    with lazy_keras(load="features" in kinds), warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # the training printed them
        loaded = runs[0].recipe()
        recipe = loaded.recipe
        table, test = recipe.table(recipe.config), None if recipe.test is None else recipe.test(recipe.config)
    if test is None:
        raise ValueError(f"--with needs test rows, and the recipe of {runs[0].folder} has none")
    if table.fingerprint() != runs[0].manifest["table"]:
        raise ValueError(f"{runs[0].folder} was trained on another table than its recipe reads now")
    parts = [column_inputs(table, test)] if "columns" in kinds else []
    if "features" in kinds:
        parts.append(read_features(loaded, table, test))
    return join_inputs(parts)


def read_features(loaded: Any, table: "Table", test: "Table") -> "Inputs":
    from kcomp.ensembles.inputs import feature_inputs
    from kcomp.probe.features import frozen_features

    features = frozen_features(loaded, [table, test])
    click.echo(features.network, err=True)
    return feature_inputs(table, test, features.rows)
