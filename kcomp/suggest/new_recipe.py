"""Suggest the stages of a new recipe (`kcomp new`), or say why they cannot be measured."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import keras

from kcomp import models
from kcomp import recipe as recipes
from kcomp.data.tables import Table
from kcomp.engine.devices import clear_session
from kcomp.new.plan import RecipePlan
from kcomp.new.stages import StagePlan, not_measured
from kcomp.new.write import LITE
from kcomp.suggest.suggestion import stages

MOST = 500  # images to measure
LARGEST = 160  # the longest side of a measured image, in pixels
EXPECTED = (ImportError, OSError, RuntimeError, ValueError)  # damaged data, or no weights


def suggest_stages(
    plan: RecipePlan, source: str, progress: Callable[[int, int], None]
) -> tuple[StagePlan | None, tuple[str, ...]]:
    """Return the suggested stages of a new recipe with their reasons.

    If they cannot be measured, return None and the sentence that says why.

    Args:
        plan: What the recipe contains.
        source: The source of the recipe with other stages.
        progress: Called with the number of finished images and the number of all images.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # training shows the same notices
            suggestion = stages(read_rows(source), build_backbone(plan), most=MOST, progress=progress)
    except EXPECTED as error:
        return None, (not_measured(error),)
    return suggestion.plan, suggestion.reasons


def read_rows(source: str) -> Table:
    """Return the labelled rows of a recipe."""
    with tempfile.TemporaryDirectory(prefix="kcomp-new-") as folder:
        path = Path(folder) / "recipe.py"
        path.write_text(source, encoding="utf-8")
        recipe = recipes.load(path).recipe
    table: Table = recipe.table(recipe.config)
    return table


def build_backbone(plan: RecipePlan) -> keras.Model:
    """Return the network of the recipe with ImageNet weights, for images of at most 160 pixels."""
    clear_session()  # so that Keras numbers layers without a name as in a training
    size = measured_size(plan.size.size)
    if plan.network in LITE:
        backbone: keras.Model = getattr(models, plan.network)(size)
        return backbone
    return models.application(getattr(keras.applications, plan.network), size)


def measured_size(size: int | tuple[int, int]) -> int | tuple[int, int]:
    """Return the image size, or a smaller one of about the same shape, with sides of 64, 96, 128 or 160 pixels."""
    if isinstance(size, int):
        return min(size, LARGEST)
    factor = min(1.0, LARGEST / max(size))
    height, width = (max(64, round(side * factor / 32) * 32) for side in size)
    return height, width
