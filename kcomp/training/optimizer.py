"""Compile a training model with the optimizer of a stage, after four changes to the optimizer."""

from typing import Any

import keras

from kcomp.engine.initial_weights import draw_weights_on_host
from kcomp.fast.install import is_enabled
from kcomp.recipe import Stage
from kcomp.training.layer_rates import rate_factors, scale_rates
from kcomp.training.rates import bind, parts_of


def compile_for_stage(
    model: keras.Model, stage: Stage, network: keras.Model, *, steps: int, seed: int, **options: Any
) -> None:
    """Compile a training model with a stage's optimizer and loss, and create the optimizer's variables.

    kcomp changes the optimizer of the stage (part of a training) in four ways:

    - Schedules of kcomp.schedules, which count epochs, get the number of steps in an epoch. Keras's schedules count
      steps and do not change.
    - Weight decay leaves out weights of one dimension (biases, normalisation). `weight_decay_on_all=True` in the stage
      turns this off.
    - With `layer_decay` in the stage, the learning rate falls from the head to the first layers. See `layer_rates`.
    - With PyTorch on a CPU, Adam and AdamW update all weights in one pass. The result is the same up to rounding.
      `KCOMP_FAST=0` in the environment turns this off.

    Args:
        model: The model to compile: `network`, or a model that wraps it.
        stage: The stage, with an optimizer that was not used before.
        network: The network whose weights are trained.
        steps: Steps (batches) in an epoch, from 1.
        seed: Seeds the optimizer's initial values.
        **options: Other arguments of `keras.Model.compile`, such as `metrics`.
    """
    bind(stage.optimizer, steps)
    exclude_from_decay(stage, network)
    scale_rates(stage.optimizer, rate_factors(network, stage.layer_decay))
    model.compile(stage.optimizer, stage.loss, **options)
    if is_enabled("torch-adam"):
        from kcomp.fast.torch.adam import use_fused_update

        use_fused_update(model.optimizer)
    with draw_weights_on_host(seed):
        model.optimizer.build(model.trainable_variables)


def exclude_from_decay(stage: Stage, network: keras.Model) -> None:
    """Exclude weights of one dimension, such as biases, from weight decay, unless `stage.weight_decay_on_all`."""
    if stage.weight_decay_on_all:
        return
    one_dimensional = [variable for variable in network.trainable_variables if len(variable.shape) <= 1]
    for optimizer in parts_of(stage.optimizer):
        optimizer.exclude_from_weight_decay(var_list=one_dimensional)
        if not any(decays(stage.optimizer, optimizer, variable) for variable in network.trainable_variables):
            optimizer.weight_decay = None  # Keras on PyTorch fails if weight decay applies to no variable


def decays(optimizer: keras.optimizers.Optimizer, part: keras.optimizers.Optimizer, variable: Any) -> bool:
    """Return whether `part` is the optimizer that updates a weight, and the weight has more than one dimension."""
    while optimizer is not part and getattr(optimizer, "optimizers", None):
        choose = getattr(optimizer, "_optimizer_map", lambda variable, inner=optimizer.optimizers[0]: inner)
        optimizer = choose(variable)
    return optimizer is part and len(variable.shape) > 1
