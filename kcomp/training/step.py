"""A training step in words: what JAX's program of it hangs on beside the values of weights, state and batch."""

import itertools
import json
from typing import Any

import keras

from kcomp.models import description


def described(model: Any) -> str | None:
    """What the compiled step of a `training.mixed.Mixed` computes; None where a part of it is neither Keras's nor
    kcomp's, or is told by no configuration: several optimizers, an average of
    weights."""
    network = description.architecture(model.network)
    mixing = [(number, type(layer)) for number, layer in model.planned]
    compiled = description.told(model.get_compile_config) or {}
    chosen = (compiled.get("optimizer") or {}).get("config", {})
    decays = getattr(model.optimizer, "_use_weight_decay", None)  # not public; without it, steps are traced each time
    if (
        network is None
        or decays is None
        or not chosen
        or any(name in chosen for name in ("optimizers", "inner_optimizer"))
        or not all(kind.__module__ == "kcomp.augment" for _, kind in mixing)  # the plan says all that these do
        or model.averages
    ):
        return None
    chosen["name"] = None
    if isinstance(chosen.get("learning_rate"), float):
        chosen["learning_rate"] = None  # a variable, while a schedule's numbers stand in the program
    return json.dumps(
        [
            network,
            description.trainable(model.network),
            [description.variables(model.network, group) for group in variables(model)],
            compiled,
            [bool(decays(variable)) for variable in model.trainable_variables],
            [(number, kind.__qualname__) for number, kind in mixing],
            None if model.class_weights is None else model.class_weights.tolist(),
        ],
        default=description.listed,
    )


def described_with(model: Any, state: Any) -> str | None:
    """The same within `fit`, where Keras has taken the values of all variables into this state."""
    with keras.StatelessScope(list(zip(itertools.chain(*variables(model)), itertools.chain(*state), strict=True))):
        return described(model)


def variables(model: Any) -> tuple[list[keras.Variable], ...]:
    """The variables in the order of the state that Keras on JAX takes through the steps."""
    groups = model.trainable_variables, model.non_trainable_variables
    return *groups, model.optimizer.variables, model.metrics_variables
