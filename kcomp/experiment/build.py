"""Build the network, batches and stages (parts of a training) of a recipe. Only this module calls the recipe's
functions.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras

from kcomp.data.batches import Batches
from kcomp.data.splits import split
from kcomp.data.tables import Table
from kcomp.engine.devices import check_batch, clear_session
from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.engine.precision import use_precision
from kcomp.experiment.checks import check_loss, check_output
from kcomp.losses import ArcFace, TargetLoss
from kcomp.models import pretrained
from kcomp.recipe import Recipe, Stage
from kcomp.targets import Target
from kcomp.values import expect_type


@dataclass(frozen=True)
class Experiment:
    """The network, batches and stages of a recipe for one fold and one seed.

    Attributes:
        target: What the network predicts, such as one of several classes.
        network: The network, which returns logits (batch, target.outputs).
        training: Batches of the training rows, with augmentation and mixing.
        validation: Batches of the held-out rows. `validation.table` has their labels.
        stages: The parts of the training, in order. Each has its own trained layers, loss and optimizer.
    """

    target: Target
    network: keras.Model
    training: Batches
    validation: Batches
    stages: list[Stage]


def build_experiment(recipe: Recipe, table: Table, *, fold: int, seed: int, load_pretrained: bool = True) -> Experiment:
    """Build the network, batches and stages of a recipe for one fold.

    Args:
        recipe: The recipe, with its final config.
        table: All labelled rows, with their folds.
        fold: The fold that is held out.
        seed: Seeds the initial weights, the batches and dropout.
        load_pretrained: Whether to load pretrained weights. Use False if other weights are loaded afterwards.

    Raises:
        ValueError: If a function of the recipe returns a wrong type, the network does not return logits for the target,
            or the fold does not exist.
    """
    rows, held_out = split(table, fold)
    clear_session()  # otherwise, numbers in layer names would continue from earlier networks
    keras.utils.set_random_seed(seed)  # for dropout; everything else is drawn on the host
    target = fit_target(table, fold)
    network = build_network(recipe, target, seed=seed, load_pretrained=load_pretrained)
    check_output(network, target)
    training = build_batches(recipe, rows, training=True, seed=seed)
    check_batch(training.batch_size)
    validation = build_batches(recipe, held_out, training=False, seed=seed)
    stages = build_stages(recipe, target)
    for stage in stages:
        if isinstance(stage.loss, ArcFace):
            stage.loss.bind_to_network(network)
    return Experiment(target, network, training, validation, stages)


def build_stages(recipe: Recipe, target: Target) -> list[Stage]:
    """Return the stages of the recipe (parts of a training). A stage without a loss gets the target's loss."""
    stages = list(expect_type(Sequence, "stages", recipe.stages(recipe.config)))
    if not stages or not all(isinstance(stage, Stage) for stage in stages):
        raise ValueError(f"the recipe's stages() must return at least one Stage; it returned {stages}")
    return [with_loss(stage, target) for stage in stages]


def fit_target(table: Table, fold: int) -> Target:
    """Return the target of a table, fitted on the rows outside `fold`. A target is what a network predicts."""
    rows, _ = split(table, fold)
    return rows.required_target.fitted(rows.labels)


def with_loss(stage: Stage, target: Target) -> Stage:
    """Return a stage (part of a training) with its own loss or, if it has none, with the target's loss.

    Raises:
        ValueError: If the loss does not fit the target.
    """
    if stage.loss is not None:
        check_loss(stage, target)
        if isinstance(stage.loss, TargetLoss):
            stage.loss.bind(target)
        return stage
    return replace(stage, loss=target.loss(stage.label_smoothing), label_smoothing=0.0)


def build_network(
    recipe: Recipe, target: Target, *, seed: int = 0, load_pretrained: bool = True, precision: str | None = None
) -> keras.Model:
    """Build the network of a recipe. Its initial weights are equal on both backends.

    Args:
        recipe: The recipe, with its final config.
        target: What the network predicts.
        seed: Seeds the initial weights.
        load_pretrained: Whether to load pretrained weights. Use False if other weights are loaded afterwards.
        precision: One of `kcomp.recipe.PRECISIONS`. None uses the recipe's precision.
    """
    use_precision(precision or recipe.precision)
    loading = contextlib.nullcontext() if load_pretrained else pretrained.skipped()
    with draw_weights_on_host(seed), loading:
        return expect_type(keras.Model, "model", recipe.model(recipe.config, target))


def build_batches(recipe: Recipe, rows: Table, *, training: bool, seed: int) -> Batches:
    """Build the recipe's batches of `rows`. If `training` is True, batches are augmented, and shuffled in each
    epoch.
    """
    return expect_type(Batches, "batches", recipe.batches(recipe.config, rows, training=training, seed=seed))
