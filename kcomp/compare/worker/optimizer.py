"""Run the stage's optimizer alone on every backend.

The random gradients are equal on all backends, so that only the update rule can differ.
"""

import keras
import numpy as np

from kcomp.compare.worker.experiment import ProbeStage
from kcomp.compare.worker.trajectory import state_of, values_of, weights_sketch

UPDATES = 5  # enough to test momenta and their bias corrections


def path(experiment: ProbeStage) -> np.ndarray:
    """Return sketches of the trained weights at the start and after each update: shape (UPDATES + 1, ...).

    Gradients are normal. Their standard deviation is 0.01, or a hundredth of that of the weight if this is more. At the
    end, the model gets back its starting weights.
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
