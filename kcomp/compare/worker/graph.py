"""A network as its calls of layers, one after the other, so that what enters each can be kept or replaced."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from kcomp.engine.graph import Slot, fill, nodes_of


@dataclass(frozen=True)
class Call:
    """values[outputs] = operation(*arguments, **keywords), a Slot standing for a value; `inputs` are the slots read.

    `name` is the layer's path, with #2, #3, ... where it is called again.
    """

    name: str
    operation: Any
    arguments: Any
    keywords: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def trainable(self) -> list[Any]:
        return list(getattr(self.operation, "trainable_variables", []))

    @property
    def kind(self) -> str:
        return type(self.operation).__name__

    def run(self, values: Mapping[int, Any]) -> list[Any]:
        """The outputs for these values of the inputs, as a training step calls the layer."""
        keywords = {name: fill(value, values) for name, value in self.keywords.items()}  # type: ignore[arg-type]
        if getattr(self.operation, "_call_has_training_arg", False):
            keywords["training"] = True
        arguments = fill(self.arguments, values)  # type: ignore[arg-type]
        return keras.tree.flatten(self.operation(*arguments, **keywords))


@dataclass
class Graph:
    """The calls in order; `shapes` and `dtypes` of each slot, without the batch axis; which slot holds the images and
    which the logits."""

    source: int = 0
    result: int = 0
    calls: list[Call] = field(default_factory=list)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[int, str] = field(default_factory=dict)

    def floats(self, slot: int) -> bool:
        return "float" in self.dtypes[slot]

    def bytes_a_row(self) -> int:
        """What one image's tensors take in float32."""
        return 4 * sum(math.prod(shape) for shape in self.shapes.values())


def graph_of(network: keras.Model) -> Graph:
    """The graph of a functional network, models inside it taken apart; any other network is one call as a whole."""
    graph, numbers, names = Graph(), itertools.count(), dict[str, int]()
    graph.source = next(numbers)
    if is_functional(network):
        [graph.result] = expand(network, [graph.source], "", graph, numbers, names)
    else:
        graph.result = next(numbers)
        call = Call(network.name, network, (Slot(graph.source),), {}, (graph.source,), (graph.result,))
        graph.calls.append(call)
        keep(graph, graph.result, network.outputs[0])
    keep(graph, graph.source, network.inputs[0])
    return graph


def is_functional(layer: Any) -> bool:
    """Whether a layer is a functional model of Keras's own class (a subclass's call may do more)."""
    return isinstance(layer, keras.Model) and type(layer).__module__.startswith("keras.") and bool(nodes_of(layer))


def expand(
    model: Any, given: list[int], prefix: str, graph: Graph, numbers: Iterator[int], names: dict[str, int]
) -> list[int]:
    """Append a functional model's calls, its inputs standing in the slots `given`; returns the slots of its outputs."""
    places = dict(zip(map(id, model.inputs), given, strict=True))
    for node in nodes_of(model) or []:
        if node.is_input:
            continue
        slots = {id(tensor): places[id(tensor)] for tensor in node.input_tensors}

        def place(value: Any, slots: dict[int, int] = slots) -> Any:
            return Slot(slots[id(value)]) if isinstance(value, keras.KerasTensor) else value

        operation, read = node.operation, list(dict.fromkeys(slots.values()))
        if is_functional(operation) and len(read) == len(operation.inputs):
            outputs = expand(operation, read, f"{prefix}{operation.name}/", graph, numbers, names)
        else:
            outputs = [next(numbers) for _ in node.outputs]
            arguments = keras.tree.map_structure(place, node.arguments.args)
            keywords = {name: keras.tree.map_structure(place, value) for name, value in node.arguments.kwargs.items()}
            keywords = {name: value for name, value in keywords.items() if value is not None}
            name = f"{prefix}{operation.name}"
            names[name] = names.get(name, 0) + 1
            name += f"#{names[name]}" if names[name] > 1 else ""
            graph.calls.append(Call(name, operation, arguments, keywords, tuple(read), tuple(outputs)))
            for slot, tensor in zip(outputs, node.outputs, strict=True):
                keep(graph, slot, tensor)
        places.update(zip(map(id, node.outputs), outputs, strict=True))
    return [places[id(tensor)] for tensor in model.outputs]


def keep(graph: Graph, slot: int, tensor: Any) -> None:
    """Note a slot's shape and type; ValueError where a size is open, for the tensors of a layer must be known."""
    shape = tuple(tensor.shape[1:])
    if None in shape:
        raise ValueError(f"kcomp compare needs a model for images of one size; a layer gives the shape {tensor.shape}")
    graph.shapes[slot], graph.dtypes[slot] = shape, keras.backend.standardize_dtype(tensor.dtype)
