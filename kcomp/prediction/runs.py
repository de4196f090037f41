"""Predict test images with the network of a finished training run."""

from dataclasses import replace
from pathlib import Path

import keras

from kcomp import data, views
from kcomp.data.items import per_item
from kcomp.experiment.build import build_batches, build_network
from kcomp.metrics.scores import Scorer
from kcomp.models.transfer import load_weights
from kcomp.prediction.forward import compile_forward, predict_rows
from kcomp.recipe import Recipe
from kcomp.report.text import quantity
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities


def predict_run(
    run: Run, test: Path | None, *, images: Path | None = None, count: str | None, output: Path | None
) -> str:
    """Write a run's predictions of the test rows to a CSV file, and return a line of text that describes the file.

    test:   a CSV of image ids, or a folder of images. None predicts the test rows of the recipe.
    images: the folder of the images in the CSV. None uses the folder of the training images.
    count:  test-time augmentation. "8" averages each image with 8 randomly augmented copies. "none" predicts each image
            once. None averages the variants that the recipe lists in `views`.
    output: a folder. The file in it is named after the run. None writes test.csv in the run folder.
    """
    recipe, target, seed = run.recipe().recipe, run.target, int(run.manifest["seed"])
    table = test_rows(run, recipe, test, images)
    chosen = chosen_views(recipe, count)
    network = trained_network(run, recipe)
    forward = compile_forward(network)
    predictions = []
    plain = build_batches(recipe, table, training=False, seed=seed)
    drawn = any(view.draw is not None for view in chosen)
    augmented = build_batches(recipe, table, training=True, seed=seed) if drawn else None
    for weights in run.weights:
        load_weights(network, weights)
        predictions.append(predict_rows(forward, plain, target, augmented=augmented, views=chosen))
    mean = predictions[0] if len(predictions) == 1 else target.average(predictions)
    path = run / "test.csv" if output is None else output / f"{run.name}.csv"
    ids, mean = per_item(table, mean, target)
    write_probabilities(path, ids, target.prediction_columns, mean)
    line = f"{path}: {len(ids)} rows, {quantity(len(chosen), 'view')}"
    line += f", {len(predictions)} snapshots" if len(predictions) > 1 else ""
    if table.columns == target.columns:
        values = Scorer(recipe.metric_of(target), target).all(per_item(table, table.labels, target)[1], mean)
        line += "  " + "  ".join(f"{name} {value:.4f}" for name, value in values.items())
    return line


def trained_network(run: Run, recipe: Recipe, *, precision: str | None = None) -> keras.Model:
    """Return the run's network with the weights of its file best.weights.h5.

    precision: name of the arithmetic precision, such as "float32". None for the recipe's precision.
    """
    network = build_network(recipe, run.target, load_pretrained=False, precision=precision)
    load_weights(network, run / "best.weights.h5")
    return network


def test_rows(run: Run, recipe: Recipe, test: Path | None, images: Path | None = None) -> data.Table:
    """Return the table of test rows, as `predict_run` needs it.

    The table has the same pixel range and the same items as the training table. An item is what several images show,
    such as a patient.

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
        table = data.read_test(test, place, id=run.manifest["id_column"], item=item)
    value_range = run.manifest["value_range"]  # of the training images, so that test images are scaled alike
    average = run.manifest.get("item_average", "mean")
    return replace(table, value_range=tuple(value_range) if value_range else None, item_average=average)


def chosen_views(recipe: Recipe, count: str | None) -> list[views.View]:
    """Return the variants of each image to average, for `count` as in `predict_run`."""
    if count is None:
        return views.with_plain(recipe.views(recipe.config) if recipe.views else [])
    return views.with_plain([] if count == "none" else views.random(int(count)))
