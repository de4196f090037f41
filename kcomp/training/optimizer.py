"""The optimizer of a stage, and the three changes that kcomp makes to it."""

from typing import Any

import keras

from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.fast.install import is_enabled
from kcomp.recipe import Stage
from kcomp.training.rates import bind


def compile_for_stage(
    model: keras.Model, stage: Stage, network: keras.Model, *, steps: int, seed: int, **options: Any
) -> None:
    """Compile a training model with its stage's optimizer and loss, and create the optimizer's variables.

    The recipe's optimizer is changed in three ways. First, schedules of `kcomp.schedules`, which count epochs, get the
    number of steps in an epoch. Schedules of Keras count steps and do not change. Second, weight decay leaves out
    weights of one dimension (biases, normalisation), unless the stage sets `weight_decay_on_all=True`. Third, with
    PyTorch on a CPU, Adam and AdamW update all weights in one pass. The result is the same up to rounding.
    `KCOMP_FAST=0` turns the third change off.

    Args:
        model: The model to compile: `network`, or a model that wraps it.
        stage: The stage, with a new optimizer.
        network: The network whose weights the stage trains.
        steps: Steps (batches) in an epoch, from 1.
        seed: Seeds the optimizer's initial values.
        **options: Other arguments of `keras.Model.compile`, such as `metrics`.
    """
    bind(stage.optimizer, steps)
    exclude_from_decay(stage, network)
    model.compile(stage.optimizer, stage.loss, **options)
    if is_enabled("torch-adam"):
        from kcomp.fast.torch.adam import use_fused_update

        use_fused_update(model.optimizer)
    with draw_weights_on_host(seed):
        model.optimizer.build(model.trainable_variables)


def exclude_from_decay(stage: Stage, network: keras.Model) -> None:
    """Leave weights of one dimension out of the weight decay of a stage's optimizer, unless the stage includes them."""
    if stage.weight_decay_on_all:
        return
    one_dimensional = [variable for variable in network.trainable_variables if len(variable.shape) <= 1]
    for optimizer in getattr(stage.optimizer, "optimizers", [stage.optimizer]):
        optimizer.exclude_from_weight_decay(var_list=one_dimensional)
        if not any(decays(stage.optimizer, optimizer, variable) for variable in network.trainable_variables):
            optimizer.weight_decay = None  # Keras on PyTorch fails if no variable decays


def decays(optimizer: keras.optimizers.Optimizer, part: keras.optimizers.Optimizer, variable: Any) -> bool:
    """Return whether `part`, one of the optimizers that `optimizer` combines, updates `variable` with weight decay."""
    chosen = getattr(optimizer, "_optimizer_map", lambda variable: part)(variable)
    return chosen is part and len(variable.shape) > 1
