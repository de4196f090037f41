"""Batch normalisation's statistics for weights that were never trained with them, such as an average of weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kcomp.data.batches import Batch, Batches
from kcomp.data.draws import Purpose, generator
from kcomp.models.classifier import leaves
from kcomp.training.frozen.forward import split_stage
from kcomp.training.mixed import Mixed


def normalisations(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for _, layer in leaves(network) if isinstance(layer, keras.layers.BatchNormalization)]


def statistics_of(norms: Sequence[keras.layers.BatchNormalization]) -> list[Any]:
    """The moving mean and the moving variance of each layer, Keras variables."""
    return [variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]


def estimate(
    network: keras.Model,
    norms: Sequence[keras.layers.BatchNormalization],
    batches: Batches,
    *,
    epoch: int = 0,
    layers: Sequence[Any] = (),
) -> list[np.ndarray]:
    """Give these layers the mean, over the batches of one epoch, of the mean and the variance of what they normalise,
    and return both as `statistics_of` orders them, float32.

    The forward passes are those of training, with dropout and with these batch `layers`; every other batch
    normalisation stays as it is (Izmailov et al. 2018, section 3.2). No gradient is taken.
    """
    every, wanted = normalisations(network), {id(layer) for layer in norms}
    before = [(layer.trainable, layer.momentum) for layer in every]
    for layer in every:
        layer.trainable, layer.momentum = id(layer) in wanted, 0.0  # so that a pass leaves the statistics of its batch
    variables = statistics_of(norms)
    totals = [np.zeros(variable.shape) for variable in variables]
    parts = split_stage(network, layers)
    model, prepare_batch = Mixed(parts.trained, parts.layers), parts.prepare
    run = forward_of(model, variables, batches.seed, epoch)
    drawn = batches.epochs(epoch, 1)
    try:
        for batch in drawn:
            for total, found in zip(totals, run(prepare_batch(batch)), strict=True):
                total += found
    finally:
        drawn.close()
        for layer, (trainable, momentum) in zip(every, before, strict=True):
            layer.trainable, layer.momentum = trainable, momentum
    means = [(total / len(batches)).astype(np.float32) for total in totals]
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean)
    return means


def forward_of(model: Mixed, wanted: Sequence[Any], seed: int, epoch: int) -> Callable[[Batch], list[np.ndarray]]:
    """A training pass over a batch without a gradient; it returns what these variables hold after it."""
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(int(generator(seed, Purpose.NOISE, epoch).integers(2**63)))  # unseeded dropout draws from it

        def run_torch(batch: Batch) -> list[np.ndarray]:
            with torch.no_grad():
                model(batch, training=True)
            return [keras.ops.convert_to_numpy(variable.value) for variable in wanted]

        return run_torch
    import jax

    variables = list(model.variables)

    @jax.jit
    def run(values: list[Any], batch: Batch) -> list[Any]:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            model(batch, training=True)
        return [scope.get_current_value(variable) for variable in variables]

    places = [next(place for place, one in enumerate(variables) if one is variable) for variable in wanted]
    state = [variable.value for variable in variables]

    def run_jax(batch: Batch) -> list[np.ndarray]:
        state[:] = run(state, batch)  # dropout's states go on from batch to batch
        return [np.asarray(state[place]) for place in places]

    return run_jax
