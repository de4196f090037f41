"""Check whether a submission will fit the sample, before the test rows are predicted."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.ensembles.joins import predicted_ids
from kcomp.ensembles.submission.build import like_sample
from kcomp.ensembles.submission.cells import Choices
from kcomp.ensembles.submission.match import find_rows, shared_ids
from kcomp.ensembles.submission.sample import Sample
from kcomp.recipe import Recipe
from kcomp.runs.folder import Run
from kcomp.system.backends import choose_backend, prepare_backend
from kcomp.system.import_hook import lazy_keras
from kcomp.system.notices import Notice
from kcomp.values import expect_type


@dataclass(frozen=True)
class Forecast:
    """Which runs still have to predict test rows for a submission.

    Attributes:
        lacking: The runs that have not predicted every row of the sample.
        ids: The ids that all runs have predicted as soon as the runs in `lacking` have predicted too.
    """

    lacking: list[Run]
    ids: list[str]


def forecast_ids(runs: Sequence[Run], sample: Sample, *, from_images: bool) -> Forecast:
    """Return which runs must still predict test rows, and which ids all runs will then have predicted.

    Args:
        runs: Complete runs.
        sample: The sample submission.
        from_images: True if the runs will predict the rows of the sample, as with `kcomp submit --images`. False if
            they will predict the test rows of their recipes.

    Raises:
        ValueError: If a run must still predict and its recipe has no test rows, or the runs have no id in common.
    """
    lacking, id_lists = [], []
    of_recipes: dict[str, list[str]] = {}
    for run in runs:
        ids = list(run.probabilities("test").index) if (run / "test.csv").is_file() else []
        if not ids or (find_rows(sample.ids, ids) < 0).any():
            lacking.append(run)
            fingerprint = run.manifest["fingerprint"]
            if not from_images and fingerprint not in of_recipes:
                of_recipes[fingerprint] = recipe_test_ids(run)
            ids = sample.ids if from_images else of_recipes[fingerprint]
        id_lists.append(ids)
    return Forecast(lacking, shared_ids(id_lists))


def recipe_test_ids(run: Run) -> list[str]:
    """Return the ids of the test rows of a run's recipe: ids of items, such as patients, or else of images."""
    with recipe_of(run) as recipe:
        if recipe.test is None:
            raise ValueError(
                f"{run.folder} has not predicted the sample's rows, and its recipe has no test rows; name the "
                "folder of the test images with --images FOLDER"
            )
        table = expect_type(Table, "test", recipe.test(recipe.config))
    return list(dict.fromkeys(predicted_ids(table)))


def check_views(runs: Sequence[Run]) -> None:
    for run in {run.manifest["fingerprint"]: run for run in runs}.values():
        with recipe_of(run) as recipe:
            if recipe.views is None:
                raise ValueError(f"--variants needs test-time augmentation; the recipe of {run.folder} has no views")


@contextlib.contextmanager
def recipe_of(run: Run) -> Iterator[Recipe]:
    """Load the recipe of a run. Keras is imported only if the recipe uses it."""
    prepare_backend(choose_backend(None, preferred=run.manifest["backend"]))
    with lazy_keras(load=False), warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # `kcomp predict` prints them
        yield run.recipe().recipe


def check_shape(runs: Sequence[Run], ids: Sequence[str], sample: Sample, choices: Choices) -> None:
    """Raise ValueError if predictions of the rows `ids` will not fit the sample. Constant predictions are used for this
    check.
    """
    target = runs[0].target
    values = target.predict(np.zeros((len(ids), target.outputs)))
    like_sample(pd.DataFrame(values, list(ids), list(target.prediction_columns)), target, sample, choices)
