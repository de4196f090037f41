"""The cache key of a compiled JAX training step: a text that describes everything the step computes."""

import itertools
import json
from typing import Any

import keras

from kcomp.jax_programs import network_key


def cache_key_of_step(model: Any) -> str | None:
    """Return the cache key of a model's compiled training step. Steps with equal keys compute the same function.

    Return None for a step with code from outside Keras and kcomp, nested optimizers or an average of weights. `model`
    is a kcomp.training.mixed.Mixed.
    """
    network = network_key.cache_key_of_network(model.network)
    mixing = [type(layer) for layer in model.planned]
    compiled = network_key.read_config(model.get_compile_config) or {}
    optimizer = (compiled.get("optimizer") or {}).get("config", {})
    groups = [network_key.describe_variables(model.network, group) for group in variables_of(model)]
    loss = describe_loss(model.loss)
    decays = getattr(model.optimizer, "_use_weight_decay", None)  # not public; without it the key is None
    if (
        type(model).__module__ != "kcomp.training.mixed"
        or decays is None
        or None in (network, loss, network_key.describe_attributes(model.optimizer), *groups)
        or not network_key.is_own_function(type(model.optimizer).update_step)
        or not optimizer
        or "exclude_layers" in optimizer  # Muon excludes layers by name
        or any(hasattr(model.optimizer, name) for name in ("optimizers", "inner_optimizer"))
        or not all(kind.__module__.startswith("kcomp.augment.") for kind in mixing)  # the plans fix what they do
        or model.averages
    ):
        return None
    factors = getattr(model.optimizer, "rate_factors", {})  # set by kcomp.training.layer_rates
    optimizer["name"] = None
    if isinstance(optimizer.get("learning_rate"), float):
        optimizer["learning_rate"] = None  # a number is a variable; those in a schedule are constants of the program
    return json.dumps(
        [
            network,
            network_key.trainable_flags(model.network),
            groups,
            compiled,
            loss,
            [[bool(decays(each)), factors.get(id(each), 1.0)] for each in model.trainable_variables],
            [kind.__qualname__ for kind in mixing],
            None if model.class_weights is None else [model.class_weights.tolist(), model.target.to_json()],
        ],
        default=network_key.as_list,
    )


def cache_key_within_fit(model: Any, state: Any) -> str | None:
    """Return the result of `cache_key_of_step` while Keras's `fit` runs.

    `state` has the values of the model's variables, which `fit` stores outside the model on JAX.
    """
    values = zip(itertools.chain(*variables_of(model)), itertools.chain(*state), strict=True)
    with keras.StatelessScope(list(values)):
        return cache_key_of_step(model)


def describe_loss(loss: Any) -> list[Any] | None:
    """Return a loss's class, arguments and attributes.

    Return None if the loss is a function, or if an argument is not a number, a text or None.
    """
    attributes = network_key.describe_attributes(loss) if isinstance(loss, keras.losses.Loss) else None
    options = getattr(loss, "_fn_kwargs", {})
    plain = all(isinstance(value, int | float | str | None) for value in options.values())
    return [str(loss.dtype), sorted(options.items()), attributes] if attributes is not None and plain else None


def variables_of(model: Any) -> tuple[list[keras.Variable], ...]:
    """Return four lists of variables: the model's trainable and non-trainable ones, the optimizer's and the
    metrics'.
    """
    groups = model.trainable_variables, model.non_trainable_variables
    return *groups, model.optimizer.variables, model.metrics_variables
