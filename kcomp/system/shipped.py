"""Find the recipes that come with kcomp. A recipe is a Python file that describes a training."""

import difflib
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Return the paths of the recipes that come with kcomp, by name."""
    installed = PACKAGE / "shipped"
    folder = installed if installed.is_dir() else PACKAGE.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}


def find_recipe(recipe: Path) -> Path:
    """Return the path of a recipe that comes with kcomp, by its name. Return a path or an unknown name unchanged."""
    return recipe if recipe.is_file() else shipped_recipes().get(str(recipe), recipe)


def hint_for(recipe: Path) -> str:
    """Return a hint for an error message: the most similar name of a recipe, and the names of all recipes in kcomp."""
    names = list(shipped_recipes())
    close = difflib.get_close_matches(recipe.stem, names, 1)
    nearest = f"did you mean {close[0]!r}? " if close else ""
    return f"{nearest}Recipes that come with kcomp: {', '.join(names)}"
