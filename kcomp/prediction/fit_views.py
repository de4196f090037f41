"""Fit the weights of views to the held-out rows of runs. Views are variants of an image for test-time augmentation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kcomp.data.items import per_item
from kcomp.data.splits import split
from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.ensembles.joins import PARTS, HeldOut
from kcomp.ensembles.members import Member, read_labels
from kcomp.ensembles.scoring.ensemble import EnsembleScores
from kcomp.ensembles.view_weights import fit_view_weights, store_weights
from kcomp.metrics.scores import Scorer
from kcomp.prediction.runs import RunPredictor, chosen_views
from kcomp.runs.folder import Run
from kcomp.views import View


def fit_views(member: Member, scorer: Scorer) -> tuple[list[str], EnsembleScores, HeldOut]:
    """Fit the weights of the recipe's views to the held-out rows of a model, and store them in its run folders.

    Args:
        member: The model: runs that differ only in their fold.
        scorer: The metric and the target.

    Returns:
        Three things: the names of the views, their scores and weights, and the held-out rows with the predictions of
            each view.

    Raises:
        ValueError: If the recipe has only one view, or its table has changed since the training.
    """
    recipe = member.runs[0].recipe().recipe
    views = chosen_views(recipe, None)
    if len(views) < 2:
        raise ValueError(f"--fit-views needs a recipe with at least two views; {member.recipe} has {len(views)}")
    rows = held_out_views(member, views)
    scores = fit_view_weights(rows, scorer)
    names = [view.name for view in views]
    store_weights(member.runs, names, scores)
    return names, scores, rows


def held_out_views(member: Member, views: Sequence[View]) -> HeldOut:
    """Return the held-out rows of a model, sorted by id. `values` has the predictions of each view of the image."""
    target = member.runs[0].target
    frames = [frame_of(run, views) for run in member.runs]
    joined = pd.concat(frames).sort_index()
    labels = read_labels(member.runs).loc[joined.index, list(target.columns)].to_numpy(np.float64)
    values = joined.to_numpy(np.float64).reshape(len(joined), len(views), -1).transpose(1, 0, 2)
    folds = member.folds[joined.index].to_numpy()
    own = len(set(folds)) > 1
    parts = folds if own else stratified_parts(target.strata(labels), PARTS)
    return HeldOut(joined.index, target, values, labels, parts, own)


def frame_of(run: Run, views: Sequence[View]) -> pd.DataFrame:
    """Return a run's predictions as a table with a row for each held-out id. Each view has a column for each class."""
    predictor = RunPredictor(run)
    recipe, target = predictor.recipe, run.target
    table = recipe.table(recipe.config)
    if table.fingerprint() != run.manifest["table"]:
        raise ValueError(f"{run.folder} was trained on another table than its recipe reads now")
    _, held_out = split(table, run.manifest["fold"])
    pairs = [per_item(held_out, values, target) for values in predictor.predict_views(held_out, views)]
    names = [f"{view.name} {column}" for view in views for column in target.prediction_columns]
    return pd.DataFrame(np.concatenate([values for _, values in pairs], 1), pd.Index(pairs[0][0]), names)
