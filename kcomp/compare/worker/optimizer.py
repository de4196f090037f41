"""Run the stage's optimizer alone on every backend.

The random gradients are equal on all backends, so that only the update rule can differ.
"""

from typing import Any

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


def condition(optimizer: Any) -> float:
    """Return the largest sum, over an optimizer's coefficients b between 0 and 1, of b / (1 - b).

    It is the condition number of an update in its coefficients. Adam divides by 1 - beta_2 ** t, where a relative error
    of beta_2 = 0.999 grows 999 times. Of an optimizer that combines several, the largest number counts.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a scaled loss
    sums = []
    for part in getattr(optimizer, "optimizers", [optimizer]):
        settings = {name: value for name, value in vars(part).items() if isinstance(value, float) and 0 < value < 1}
        settings.pop("ema_momentum", None)  # an average after the update
        sums.append(sum(value / (1 - value) for value in settings.values()))
    return max(sums)
