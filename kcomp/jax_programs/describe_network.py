"""What a network computes, in words that are equal for equal networks, wherever and whenever they were built."""

import functools
import hashlib
import json
import types
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kcomp.engine.graph import is_plain_functional, nodes_of


def source() -> str:
    """A hash of kcomp's own source: what an edit of it changes, no version tells."""
    found = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        found.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


SOURCE = source()  # now, while it is what this process has imported


def architecture(model: keras.Model) -> str | None:
    """Classes, configurations and connections of a functional model, and what its layers hold beside them; without
    the names of its own layers. None where it is no plain functional model, or a class or a function in it is neither
    Keras's nor kcomp's, so that its source may change unseen."""
    nodes = nodes_of(model) if is_plain_functional(model) else None
    tensors: dict[int, int] = {}
    operations: dict[int, int] = {}
    described = []
    for node in nodes or []:
        operation = node.operation
        arguments = keras.tree.map_structure(
            lambda value: {"tensor": tensors[id(value)]} if isinstance(value, keras.KerasTensor) else value,
            [node.arguments.args, node.arguments.kwargs],
        )
        for tensor in node.output_tensors:
            tensors[id(tensor)] = len(tensors)
        kind = f"{type(operation).__module__}.{type(operation).__qualname__}"
        number = operations.setdefault(id(operation), len(operations))  # a layer that is called twice is one layer
        config, held = told(operation.get_config), [attributes(layer) for layer in layers_in(operation)]
        if config is None or None in held or not all(map(is_known, layers_in(operation))):
            return None
        config = {**config, "name": None, "trainable": None}
        try:
            described.append(json.dumps([number, kind, config, held, arguments], sort_keys=True, default=listed))
        except (TypeError, ValueError):
            return None
    return "\n".join([*described, str(tensors[id(model.outputs[0])])]) if nodes else None


def forward(model: keras.Model) -> str | None:
    """All that `model(images, training=False)` hangs on beside the values of `model.variables` and of the images: the
    architecture, and the order of the variables. None where that cannot be told."""
    network = architecture(model)
    return network and json.dumps([network, variables(model, model.variables)])


def variables(model: keras.Model, chosen: Iterable[keras.Variable]) -> list[Any] | None:
    """For each of these variables its place among the model's, in the order in which `architecture` meets them (None
    for another's), its shape, its type, its regularizer and constraint; None where one of those is not Keras's."""
    places: dict[int, int] = {}
    for node in nodes_of(model) or []:
        for variable in getattr(node.operation, "variables", ()):
            places.setdefault(id(variable), len(places))
    found = []
    for variable in chosen:
        traits = told(functools.partial(traits_of, variable))
        if traits is None:
            return None
        found.append([places.get(id(variable)), list(variable.shape), str(variable.dtype), traits])
    return found


def traits_of(variable: keras.Variable) -> dict[str, Any]:
    kept = {"regularizer": variable.regularizer, "constraint": variable.constraint}
    return {name: keras.saving.serialize_keras_object(value) for name, value in kept.items() if value is not None}


def trainable(model: keras.Model) -> list[bool]:
    """Which layers learn, in the order in which `architecture` meets them, inner ones too."""
    found = [layer for node in nodes_of(model) or [] for layer in layers_in(node.operation)]
    return [layer.trainable for layer in found if isinstance(layer, keras.layers.Layer)]


def layers_in(operation: Any) -> list[Any]:
    """The operation and the layers inside it, however deep."""
    return [
        operation,
        *(operation._flatten_layers(include_self=False) if isinstance(operation, keras.layers.Layer) else []),
    ]


def is_known(operation: Any) -> bool:
    """Whether the source of an operation is Keras's or kcomp's, so that versions and configuration tell all of it."""
    kind = type(operation)
    return is_own(kind.__module__) and is_own_function(kind.call) and kind is not keras.layers.Lambda


def is_own_function(function: Any) -> bool:
    """Whether a function was written in Keras or kcomp; `functools.wraps` gives another's `__module__` to it."""
    return is_own(getattr(function, "__globals__", {}).get("__name__"))


def attributes(thing: Any) -> list[Any] | None:
    """What a layer or a loss holds that its configuration may leave out: arrays by a hash, functions by their names,
    the automatic casts. None where a function is neither Keras's nor kcomp's, or takes the place of `call`."""
    found: list[Any] = [["autocast", getattr(thing, "autocast", None)]]
    for name, value in sorted(vars(thing).items()):
        if name == "call" or (isinstance(value, types.FunctionType) and not is_own_function(value)):
            return None
        if isinstance(value, types.FunctionType):
            found.append([name, value.__qualname__])
        elif isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
            array = np.ascontiguousarray(keras.ops.convert_to_numpy(value))
            found.append([name, str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()])
    return found


def is_own(module: Any) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in ("keras", "kcomp")


def told(configuration: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What a `get_config` of Keras's gives, or None where it names a class that is neither Keras's nor kcomp's, or a
    function, of which it tells no more than the name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a lambda cannot be loaded again
        try:
            found = configuration()
        except (NotImplementedError, OSError, TypeError, ValueError):  # OSError: a lambda whose source is gone
            return None
    return found if names_own(found) else None


def names_own(config: Any) -> bool:
    if isinstance(config, dict):
        return ("class_name" not in config or is_own(config.get("module"))) and all(map(names_own, config.values()))
    return not isinstance(config, list | tuple) or all(map(names_own, config))


def listed(value: Any) -> Any:
    """Arrays and tensors among an operation's arguments as type and list; TypeError for what has no numbers."""
    array = np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{type(value).__name__} has no numbers")
    return [str(array.dtype), array.tolist()]
