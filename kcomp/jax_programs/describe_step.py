"""A training step in words: what JAX's program of it hangs on beside the values of weights, state and batch."""

import itertools
import json
from typing import Any

import keras

from kcomp.jax_programs import describe_network as description


def described(model: Any) -> str | None:
    """What the compiled step of a `training.mixed.Mixed` computes; None where a part of it is neither Keras's nor
    kcomp's, or is told by no configuration: optimizers inside or beside the optimizer, an average of weights."""
    network = description.architecture(model.network)
    mixing = [(number, type(layer)) for number, layer in model.planned]
    compiled = description.told(model.get_compile_config) or {}
    chosen = (compiled.get("optimizer") or {}).get("config", {})
    groups = [description.variables(model.network, group) for group in variables(model)]
    about_loss = loss_words(model.loss)
    decays = getattr(model.optimizer, "_use_weight_decay", None)  # not public; without it, steps are traced each time
    if (
        type(model).__module__ != "kcomp.training.mixed"
        or decays is None
        or None in (network, about_loss, description.attributes(model.optimizer), *groups)
        or not description.is_own_function(type(model.optimizer).update_step)
        or not chosen
        or "exclude_layers" in chosen  # Muon's, by names
        or any(hasattr(model.optimizer, name) for name in ("optimizers", "inner_optimizer"))
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
            groups,
            compiled,
            about_loss,
            [bool(decays(variable)) for variable in model.trainable_variables],
            [(number, kind.__qualname__) for number, kind in mixing],
            None if model.class_weights is None else model.class_weights.tolist(),
        ],
        default=description.listed,
    )


def loss_words(loss: Any) -> list[Any] | None:
    """A loss's type of numbers and the arguments of its formula, which not all of Keras's tell in their
    configuration; None for a function of its own."""
    held = description.attributes(loss) if isinstance(loss, keras.losses.Loss) else None
    options = getattr(loss, "_fn_kwargs", {})
    plain = all(isinstance(value, int | float | str | None) for value in options.values())
    return [str(loss.dtype), sorted(options.items()), held] if held is not None and plain else None


def described_with(model: Any, state: Any) -> str | None:
    """The same within `fit`, where Keras has taken the values of all variables into this state."""
    with keras.StatelessScope(list(zip(itertools.chain(*variables(model)), itertools.chain(*state), strict=True))):
        return described(model)


def variables(model: Any) -> tuple[list[keras.Variable], ...]:
    """The variables in the order of the state that Keras on JAX takes through the steps."""
    groups = model.trainable_variables, model.non_trainable_variables
    return *groups, model.optimizer.variables, model.metrics_variables
