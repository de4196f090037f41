"""Train a stage (part of a training) at rising learning rates, and record its loss."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from kcomp.data.splits import fold_numbers
from kcomp.data.tables import Table
from kcomp.experiment.build import build_experiment
from kcomp.fast.install import install
from kcomp.find_rate.suggestion import has_diverged
from kcomp.models import set_trainable
from kcomp.recipe import Recipe, Stage
from kcomp.schedules import Exponential
from kcomp.training.checks import check_stage
from kcomp.training.class_weights import class_weights
from kcomp.training.frozen.batches import mixing_layers
from kcomp.training.frozen.forward import split_stage
from kcomp.training.mixed import Mixed
from kcomp.training.optimizer import compile_for_stage
from kcomp.training.rates import bind, parts_of, rate_of

STEPS = 200
LOWEST, HIGHEST = 1e-6, 10.0


class NoStageError(ValueError):
    """The recipe has no stage with the name that was passed."""


@dataclass(frozen=True)
class RangeTest:
    """The result of a learning rate range test.

    Attributes:
        stage: The name of the stage.
        rates: The learning rate of each step, (steps,). If the optimizer joins several optimizers, it is the highest of
            their rates.
        losses: The loss of each step before its update, (steps,). All are finite.
        recipe_rate: The highest rate that the recipe's own schedule has in the stage.
        became_infinite: Whether the test ended because the next loss was NaN or infinite.
    """

    stage: str
    rates: np.ndarray
    losses: np.ndarray
    recipe_rate: float
    became_infinite: bool = False


def run_range_test(
    recipe: Recipe, table: Table, *, stage_name: str | None = None, progress: Callable[[int, int], None]
) -> RangeTest:
    """Train a stage for some steps at rates that rise by the same factor in each step, and return the losses.

    The network starts as in a training with seed 0 that holds out the first fold. Earlier stages are not trained. The
    test ends early if the loss grows.

    Args:
        recipe: The recipe, with its final config.
        table: All labelled rows, with their folds.
        stage_name: The name of the stage. None for the first stage.
        progress: Called with the number of finished steps and the number of all steps.

    Raises:
        NoStageError: If there is no such stage.
        ValueError: If a check of the recipe fails, or the first loss is not finite.

    References:
        Smith 2017, Cyclical learning rates for training neural networks, section 3.3. The rate rises exponentially as
        in Gugger 2018, "How do you find a good learning rate".
    """
    install()
    built = build_experiment(recipe, table, fold=fold_numbers(table)[0], seed=0)
    stage = choose_stage(built.stages, stage_name)
    network, training = built.network, built.training
    set_trainable(network, stage.train, train_batch_norm=stage.train_batch_norm)
    check_stage(stage)
    parts = split_stage(network, mixing_layers(stage, training), spatial=stage.mix_features)
    recipe_rate = set_rising_rates(stage, len(training))
    factors = class_weights(stage, training.table)
    model = Mixed(parts.trained, parts.layers, class_weights=factors, target=built.target)
    compile_for_stage(model, stage, network, steps=STEPS, seed=0)
    losses: list[float] = []
    batches = training.epochs(0, -(-STEPS // len(training)))
    try:
        for batch in batches:
            losses.append(loss_of_step(model, parts.prepare(batch)))
            progress(len(losses), STEPS)
            if len(losses) == STEPS or has_diverged(np.array(losses)):
                break
    finally:
        batches.close()
    finite = np.array(losses)[np.isfinite(losses)]
    if not len(finite):
        raise ValueError(f"stage {stage.name!r}: the loss is {losses[0]} before the first update; check the data")
    rates = LOWEST * (HIGHEST / LOWEST) ** (np.arange(len(finite)) / STEPS)
    return RangeTest(stage.name, rates, finite, recipe_rate, became_infinite=len(finite) < len(losses))


def loss_of_step(model: Mixed, batch: dict[str, object]) -> float:
    """Train a model on one batch, and return the loss before the update."""
    model.reset_metrics()
    return float(model.train_on_batch(batch, return_dict=True)["loss"])


def choose_stage(stages: list[Stage], name: str | None) -> Stage:
    if name is None:
        return stages[0]
    for stage in stages:
        if stage.name == name:
            return stage
    raise NoStageError(f"no stage {name!r}; the recipe's stages are {', '.join(stage.name for stage in stages)}")


def set_rising_rates(stage: Stage, steps_per_epoch: int) -> float:
    """Replace the learning rate schedule of a stage by a rising rate. Return the highest rate of the replaced schedule.

    If the optimizer joins several optimizers, their rates keep the ratios of their highest rates.

    Args:
        stage: The stage, with an optimizer that was not used before.
        steps_per_epoch: The number of steps (batches) in an epoch of the recipe.
    """
    parts = parts_of(stage.optimizer)
    bind(stage.optimizer, steps_per_epoch)
    peaks = [highest_rate(part, stage.epochs * steps_per_epoch) for part in parts]
    for part, peak in zip(parts, peaks, strict=True):
        share = peak / max(peaks)
        part.learning_rate = Exponential(LOWEST * share, epochs=1, final=HIGHEST * share)
    return max(peaks)


def highest_rate(optimizer: keras.optimizers.Optimizer, steps: int) -> float:
    """Return the highest learning rate of an optimizer within the first `steps` steps, looked up at 200 of them."""
    schedule = optimizer._learning_rate
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return rate_of(optimizer)
    return max(float(schedule(step)) for step in np.linspace(0, steps - 1, 200).astype(np.int32))
