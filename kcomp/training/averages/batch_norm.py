"""Recompute the statistics of batch normalisation after the weights were changed, for example averaged."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kcomp.data.batches import Batch, Batches
from kcomp.data.draws import Purpose, generator
from kcomp.models.trainable import leaves
from kcomp.training.frozen.forward import split_stage
from kcomp.training.mixed import Mixed


def normalisations(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for _, layer in leaves(network) if isinstance(layer, keras.layers.BatchNormalization)]


def statistics_of(norms: Sequence[keras.layers.BatchNormalization]) -> list[Any]:
    """Return the Keras variables `moving_mean` and `moving_variance` of each layer, in one list."""
    return [variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]


def estimate(
    network: keras.Model,
    norms: Sequence[keras.layers.BatchNormalization],
    batches: Batches,
    *,
    epoch: int = 0,
    layers: Sequence[Any] = (),
) -> list[np.ndarray]:
    """Set the mean and variance of batch normalisation layers to averages over the batches of one epoch.

    The forward passes run in training mode, with dropout, and compute no gradient.

    Args:
        network: The network, with its final weights.
        norms: The batch normalisation layers whose statistics are computed.
        batches: The training batches.
        epoch: The epoch whose batches are used, from 0.
        layers: Batch layers, such as MixUp, to apply to the batches.

    Returns:
        The mean and the variance of each layer, float32, in the order of `statistics_of`.

    References:
        Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization, section 3.2.
    """
    every, chosen = normalisations(network), {id(layer) for layer in norms}
    before = [(layer.trainable, layer.momentum) for layer in every]
    for layer in every:
        layer.trainable, layer.momentum = id(layer) in chosen, 0.0  # 0: statistics of the last batch only
    variables = statistics_of(norms)
    totals = [np.zeros(variable.shape) for variable in variables]
    parts = split_stage(network, layers)
    model, prepare_batch = Mixed(parts.trained, parts.layers), parts.prepare
    run = forward_of(model, variables, batches.seed, epoch)
    drawn = batches.epochs(epoch, 1)
    try:
        for batch in drawn:
            for total, values in zip(totals, run(prepare_batch(batch)), strict=True):
                total += values
    finally:
        drawn.close()
        for layer, (trainable, momentum) in zip(every, before, strict=True):
            layer.trainable, layer.momentum = trainable, momentum
    means = [(total / len(batches)).astype(np.float32) for total in totals]
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean)
    return means


def forward_of(model: Mixed, statistics: Sequence[Any], seed: int, epoch: int) -> Callable[[Batch], list[np.ndarray]]:
    """Return a function that runs a batch in training mode, and returns the new values of `statistics`."""
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(int(generator(seed, Purpose.NOISE, epoch).integers(2**63)))  # seeds dropout

        def run_torch(batch: Batch) -> list[np.ndarray]:
            with torch.no_grad():
                model(batch, training=True)
            return [keras.ops.convert_to_numpy(variable.value) for variable in statistics]

        return run_torch
    import jax

    variables = list(model.variables)

    @jax.jit
    def run(values: list[Any], batch: Batch) -> list[Any]:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            model(batch, training=True)
        return [scope.get_current_value(variable) for variable in variables]

    positions = {id(variable): position for position, variable in enumerate(variables)}
    places = [positions[id(variable)] for variable in statistics]
    state = [variable.value for variable in variables]

    def run_jax(batch: Batch) -> list[np.ndarray]:
        state[:] = run(state, batch)  # the random states of dropout carry over to the next batch
        return [np.asarray(state[place]) for place in places]

    return run_jax
