"""Load the recipe to check, or make one in memory for the files of a competition."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kcomp import recipe as recipes
from kcomp.new.files import TABLE_ENDINGS, find_files
from kcomp.new.plan import Overrides, make_plan
from kcomp.new.write import default_file, recipe_source
from kcomp.recipe import Loaded
from kcomp.system.errors import UsageError
from kcomp.system.shipped import find_recipe, hint_for
from kcomp.values import parse_values


def load_source(path: Path, assignments: Sequence[str] = ()) -> Loaded:
    """Load the recipe at a path, or make a recipe in memory for the data at this path, and change values of its config.

    `assignments` has texts such as "epochs=3".
    """
    loaded = recipe_for_data(path) if is_data(path) else load_recipe(path)
    try:
        return loaded.with_values(**parse_values(loaded.recipe.config, assignments))
    except ValueError as error:
        raise UsageError(error) from error


def is_data(path: Path) -> bool:
    return path.is_dir() or (path.is_file() and path.suffix.lower() in TABLE_ENDINGS)


def load_recipe(path: Path) -> Loaded:
    recipe = find_recipe(path)
    if not recipe.is_file():
        raise UsageError(f"no recipe, folder or table at {path}; {hint_for(path)}")
    return recipes.load(recipe)


def recipe_for_data(data: Path) -> Loaded:
    """Return the recipe that `kcomp new` would write for these data."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # reading the table shows the same notices
            plan = make_plan(find_files(data, None), Overrides())
    except UsageError as error:
        hint = "; kcomp check has no such option: write a recipe with `kcomp new`, and check the recipe"
        raise UsageError(f"{error}{hint if '--' in str(error) else ''}") from error
    with tempfile.TemporaryDirectory(prefix="kcomp-check-") as folder:
        path = Path(folder) / default_file(data)
        path.write_text(recipe_source(plan, path.name), encoding="utf-8")
        loaded = recipes.load(path)
    return replace(loaded, recipe=replace(loaded.recipe, table=without_recipe_line(loaded.recipe.table)))


def without_recipe_line(table: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function like `table` whose errors do not name a line of the recipe: the user has no such file."""

    def read(config: Any) -> Any:
        try:
            return table(config)
        except ValueError as error:
            text = f"{error}; to read the table in another way, write a recipe with `kcomp new`, and check the recipe"
            problem = ValueError(text)
        raise problem

    return read
