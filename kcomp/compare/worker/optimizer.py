"""Run an optimizer alone, with the same random gradients on all backends."""

from typing import Any

import keras
import numpy as np

from kcomp.compare.worker.experiment import ProbeStage
from kcomp.compare.worker.trajectory import state_of, values_of, weights_sketch

UPDATES = 5  # enough to test momenta and their bias corrections


def weights_after_updates(experiment: ProbeStage) -> np.ndarray:
    """Return sketches (shortened arrays) of the trained weights at the start and after each update, (UPDATES + 1,
    numbers).

    The gradients are random numbers. At the end, the model gets its starting weights back.
    """
    model, draws = experiment.model, np.random.default_rng(0)
    before, sketches = values_of(state_of(model)), [weights_sketch(model)]
    for _ in range(UPDATES):
        gradients = []
        for weight in model.trainable_variables:
            size = max(0.01, 0.01 * float(np.std(keras.ops.convert_to_numpy(weight.value))))
            gradients.append(keras.ops.convert_to_tensor(draws.normal(0, size, weight.shape), weight.dtype))
        model.optimizer.apply(gradients, model.trainable_variables)
        sketches.append(weights_sketch(model))
    for variable, value in zip(state_of(model), before, strict=True):
        variable.assign(value)
    return np.stack(sketches)


def condition(optimizer: Any) -> float:
    """Return the sum of b / (1 - b) over an optimizer's coefficients b: how much an update amplifies their rounding
    errors.

    For a MultiOptimizer, return the largest of these sums.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # LossScaleOptimizer wraps another optimizer
    sums = []
    for part in getattr(optimizer, "optimizers", [optimizer]):
        settings = {name: value for name, value in vars(part).items() if isinstance(value, float) and 0 < value < 1}
        settings.pop("ema_momentum", None)  # used for an average of weights, after the update
        sums.append(sum(value / (1 - value) for value in settings.values()))
    return max(sums)
