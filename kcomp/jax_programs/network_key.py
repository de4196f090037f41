"""Cache keys of networks. Two networks with equal keys compute the same function of weights and images."""

import functools
import hashlib
import json
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from kcomp.engine.graph import is_plain_functional, nodes_of


def cache_key_of_network(model: keras.Model) -> str | None:
    """Return the cache key of a functional model: a text with its layers, options, connections and constants.

    Return None for other models, and for models with code from outside Keras and kcomp, which the text cannot describe.
    """
    nodes = nodes_of(model) if is_plain_functional(model) else None
    tensors: dict[int, int] = {}
    operations: dict[int, int] = {}
    lines = []
    for node in nodes or []:
        operation = node.operation
        arguments = keras.tree.map_structure(
            lambda value: {"tensor": tensors[id(value)]} if isinstance(value, keras.KerasTensor) else value,
            [node.arguments.args, node.arguments.kwargs],
        )
        for tensor in node.output_tensors:
            tensors[id(tensor)] = len(tensors)
        kind = f"{type(operation).__module__}.{type(operation).__qualname__}"
        number = operations.setdefault(id(operation), len(operations))  # a layer that is called twice has one number
        config = read_config(operation.get_config)
        contents = [describe_attributes(layer) for layer in with_inner_layers(operation)]
        if config is None or None in contents or not all(map(is_known, with_inner_layers(operation))):
            return None
        config = {**config, "name": None, "trainable": None}
        try:
            lines.append(json.dumps([number, kind, config, contents, arguments], sort_keys=True, default=as_list))
        except (TypeError, ValueError):
            return None
    return "\n".join([*lines, str(tensors[id(model.outputs[0])])]) if nodes else None


def cache_key_of_inference(model: keras.Model) -> str | None:
    """Return the cache key of `model(images, training=False)`, a function of `model.variables` and the images.

    Return None if `cache_key_of_network` returns None.
    """
    network = cache_key_of_network(model)
    return network and json.dumps([network, describe_variables(model, model.variables)])


def describe_variables(model: keras.Model, chosen: Iterable[keras.Variable]) -> list[Any] | None:
    """Return a list [position in the model, shape, dtype, settings] for each of the variables `chosen`.

    The settings are the regularizer and the constraint. Return None if one of these is from outside Keras and kcomp.
    """
    places: dict[int, int] = {}
    for node in nodes_of(model) or []:
        for variable in getattr(node.operation, "variables", ()):
            places.setdefault(id(variable), len(places))
    descriptions = []
    for variable in chosen:
        settings = read_config(functools.partial(settings_of, variable))
        if settings is None:
            return None
        descriptions.append([places.get(id(variable)), list(variable.shape), str(variable.dtype), settings])
    return descriptions


def settings_of(variable: keras.Variable) -> dict[str, Any]:
    """Return a variable's regularizer and constraint in serialized form. One that is None is left out."""
    settings = {"regularizer": variable.regularizer, "constraint": variable.constraint}
    return {name: keras.saving.serialize_keras_object(value) for name, value in settings.items() if value is not None}


def trainable_flags(model: keras.Model) -> list[bool]:
    """Return the attribute `trainable` of every layer and inner layer, in the order in which the network runs them."""
    operations = [layer for node in nodes_of(model) or [] for layer in with_inner_layers(node.operation)]
    return [layer.trainable for layer in operations if isinstance(layer, keras.layers.Layer)]


def with_inner_layers(operation: Any) -> list[Any]:
    is_layer = isinstance(operation, keras.layers.Layer)
    return [operation, *(operation._flatten_layers(include_self=False) if is_layer else [])]


def is_known(operation: Any) -> bool:
    """Return whether an operation's code belongs to Keras or kcomp."""
    kind = type(operation)
    return is_own(kind.__module__) and is_own_function(kind.call) and kind is not keras.layers.Lambda


def is_own_function(function: Any) -> bool:
    """Return whether the code of a function is in Keras or kcomp. `__module__` is not used, because it can be wrong."""
    # functools.wraps copies `__module__` from another function
    return is_own(getattr(function, "__globals__", {}).get("__name__"))


def describe_attributes(holder: Any) -> list[Any] | None:
    """Return attributes of a layer or loss that its `get_config` may leave out, such as arrays and functions.

    Return None if an attribute is a function from outside Keras and kcomp, or replaces `call`.
    """
    descriptions: list[Any] = [["autocast", getattr(holder, "autocast", None)]]
    for name, value in sorted(vars(holder).items()):
        if name == "call" or (isinstance(value, types.FunctionType) and not is_own_function(value)):
            return None
        if isinstance(value, types.FunctionType):
            descriptions.append([name, value.__qualname__])
        elif isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
            array = np.ascontiguousarray(keras.ops.convert_to_numpy(value))
            descriptions.append([name, str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()])
    return descriptions


def is_own(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in ("keras", "kcomp")


def read_config(get_config: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Return the result of `get_config`, or None if it fails or names code from outside Keras and kcomp."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns that a lambda cannot be loaded again
        try:
            config = get_config()
        except (NotImplementedError, OSError, TypeError, ValueError):  # OSError: the source of a lambda is missing
            return None
    return config if names_own_classes(config) else None


def names_own_classes(config: Any) -> bool:
    """Return whether all classes that a configuration names belong to Keras or kcomp."""
    if isinstance(config, dict):
        own = "class_name" not in config or is_own(config.get("module"))
        return own and all(map(names_own_classes, config.values()))
    return not isinstance(config, list | tuple) or all(map(names_own_classes, config))


def as_list(value: Any) -> Any:
    """Return [dtype, numbers] for an array or tensor, for JSON. Raise TypeError if it is not numeric."""
    array = np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{type(value).__name__} has no numbers")
    return [str(array.dtype), array.tolist()]
