"""The recipes that come with kcomp, by name."""

import difflib
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Return the files of the shipped recipes by name. They are in kcomp/shipped in a wheel, in recipes/ in a clone."""
    installed = PACKAGE / "shipped"
    folder = installed if installed.is_dir() else PACKAGE.parent / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}


def find_recipe(recipe: Path) -> Path:
    """Return the path of the shipped recipe with this name. Return a file's path or an unknown name unchanged."""
    return recipe if recipe.is_file() else shipped_recipes().get(str(recipe), recipe)


def hint_for(recipe: Path) -> str:
    """Return the nearest name of a shipped recipe and the names of all shipped recipes, for an error message."""
    names = list(shipped_recipes())
    close = difflib.get_close_matches(recipe.stem, names, 1)
    nearest = f"did you mean {close[0]!r}? " if close else ""
    return f"{nearest}Recipes that come with kcomp: {', '.join(names)}"
