"""Predict test images with the network of a finished training run."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from kcomp import data
from kcomp.data.items import per_item
from kcomp.ensembles.view_weights import read_weights
from kcomp.experiment.build import build_batches, build_network
from kcomp.metrics.scores import Scorer
from kcomp.models.transfer import load_weights
from kcomp.prediction.forward import Forward, compile_forward, predict_views
from kcomp.prediction.resized import resize_network
from kcomp.recipe import Recipe
from kcomp.report.text import quantity
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.targets import Target
from kcomp.views import View, check_views, plain, random


class RunPredictor:
    """Predicts images with the network of a run.

    Args:
        run: The run. If it has several weights files (snapshots), their predictions are averaged.
        weights: The weights files. None for those of a complete run.
    """

    def __init__(self, run: Run, weights: Sequence[Path] | None = None) -> None:
        self.run, self.target, self.seed = run, run.target, int(run.manifest["seed"])
        self.weights = run.weights if weights is None else weights
        self.recipe = run.recipe().recipe
        self.network = trained_network(run, self.recipe)
        self.forward = compile_forward(self.network)

    def predict_views(self, table: data.Table, views: Sequence[View]) -> np.ndarray:
        """Return the predictions of each view of the rows of a table, float32 (views, images, columns)."""
        plain = build_batches(self.recipe, table, training=False, seed=self.seed)
        drawn = any(view.draw is not None for view in views)
        augmented = build_batches(self.recipe, table, training=True, seed=self.seed) if drawn else None

        @functools.cache
        def forward_of_size(height: int, width: int) -> Forward:
            return compile_forward(resize_network(self.network, height, width))

        predictions = []
        for weights in self.weights:
            load_weights(self.network, weights)
            predictions.append(
                predict_views(
                    self.forward,
                    plain,
                    self.target,
                    views=views,
                    augmented=augmented,
                    forward_of_size=forward_of_size,
                )
            )
        if len(predictions) == 1:
            return predictions[0]
        return np.stack([self.target.average(of_view) for of_view in zip(*predictions, strict=True)])


def predict_run(
    run: Run, test: Path | None, *, images: Path | None = None, count: str | None, output: Path | None
) -> str:
    """Write a run's predictions of the test rows to a CSV file, and return a line of text that describes the file.

    test:   a CSV of image ids, or a folder of images. None predicts the test rows of the recipe.
    images: the folder of the images in the CSV. None uses the folder of the training images.
    count:  test-time augmentation. "8" averages each image with 8 randomly augmented copies. "none" predicts each image
            once. None averages the views that the recipe lists. If the run has a views.json, its weights are used.
    output: a folder for the file. None writes test.csv in the run folder.
    """
    recipe, target = run.recipe().recipe, run.target
    table, chosen = test_rows(run, recipe, test, images), chosen_views(recipe, count)
    weights = read_weights(run, [view.name for view in chosen]) if count is None else None
    by_view = RunPredictor(run).predict_views(table, chosen)
    ids, mean = average_views(table, by_view, target, weights)
    path = run / "test.csv" if output is None else output / f"{run.name}.csv"
    write_probabilities(path, ids, target.prediction_columns, mean)
    line = f"{path}: {len(ids)} rows, {quantity(len(chosen), 'view')}"
    line += "" if weights is None else " with fitted weights"
    line += f", {len(run.weights)} snapshots" if len(run.weights) > 1 else ""
    if table.columns == target.columns:
        values = Scorer(recipe.metric_of(target), target).all(per_item(table, table.labels, target)[1], mean)
        line += "  " + "  ".join(f"{name} {value:.4f}" for name, value in values.items())
    return line


def average_views(
    table: data.Table, by_view: np.ndarray, target: Target, weights: Sequence[float] | None
) -> tuple[list[str], np.ndarray]:
    """Return two things: ids of images or items (such as patients), and predictions averaged over views, float32 (ids,
    columns).

    `by_view` has the predictions (views, images, columns), and `weights` a weight for each view.
    """
    if weights is None:
        return per_item(table, target.view_mean(by_view).astype(np.float32), target)
    pairs = [per_item(table, predictions, target) for predictions in by_view]
    return pairs[0][0], target.view_mean(np.stack([values for _, values in pairs]), weights).astype(np.float32)


def trained_network(run: Run, recipe: Recipe, *, precision: str | None = None) -> keras.Model:
    """Return the run's network with the weights of its file best.weights.h5.

    `precision` is a name such as "float32". None for the recipe's precision.
    """
    network = build_network(recipe, run.target, load_pretrained=False, precision=precision)
    load_weights(network, run / "best.weights.h5")
    return network


def test_rows(run: Run, recipe: Recipe, test: Path | None, images: Path | None = None) -> data.Table:
    """Return the table of test rows, with the pixel range and the items (such as patients) of the training table.

    test:   a CSV of image ids, or a folder of images. None returns the test rows of the recipe.
    images: the folder of the images in the CSV. None uses the folder of the training images.
    """
    if test is None:
        if recipe.test is None:
            raise ValueError(
                f"the recipe of {run.folder} has no test rows; name them with --test CSV or --test FOLDER, or with "
                "`kcomp submit ... --images FOLDER`"
            )
        table = recipe.test(recipe.config)
    else:
        place = run.manifest["image_pattern"] or None if images is None else images.absolute()
        item = run.manifest.get("item_column") or None
        table = data.read_test(
            test, place, id=run.manifest["id_column"], item=item, allow_outside=bool(run.manifest.get("allow_outside"))
        )
    value_range = run.manifest["value_range"]  # of the training images, so that test images are scaled alike
    average = run.manifest.get("item_average", "mean")
    return replace(table, value_range=tuple(value_range) if value_range else None, item_average=average)


def chosen_views(recipe: Recipe, count: str | None) -> list[View]:
    """Return the views over which predictions of an image are averaged. `predict_run` describes `count`."""
    if count is None:
        return check_views(recipe.views(recipe.config)) if recipe.views else [plain]
    return [plain] if count == "none" else [plain, *random(int(count))]
