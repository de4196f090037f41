"""List the layer calls of a network, so that the inputs of each call can be stored or replaced."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from kcomp.engine.graph import Slot, fill, nodes_of


@dataclass(frozen=True)
class Call:
    """One call of a layer: values[outputs] = operation(*arguments, **keywords).

    `values` has every tensor of the network by its number. A tensor among the arguments is a Slot, which holds its
    number.

    Attributes:
        name: The path of the layer. Further calls of the same layer have #2, #3, ... at the end.
        operation: The layer.
        arguments: The positional arguments.
        keywords: The keyword arguments.
        inputs: The numbers of the tensors that the call reads.
        outputs: The numbers of the tensors that the call computes.
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
        """Call the layer in training mode, and return its outputs. `values` has the network's tensors by number."""
        keywords = {name: fill(value, values) for name, value in self.keywords.items()}  # type: ignore[arg-type]
        if getattr(self.operation, "_call_has_training_arg", False):
            keywords["training"] = True
        arguments = fill(self.arguments, values)  # type: ignore[arg-type]
        return keras.tree.flatten(self.operation(*arguments, **keywords))


@dataclass
class Graph:
    """The layer calls of a network, in an order in which they can run. Each tensor has a number.

    Attributes:
        source: The number of the images.
        result: The number of the logits.
        calls: The layer calls.
        shapes: The shape of each tensor by number, without the batch axis.
        dtypes: The type of each tensor by number.
    """

    source: int = 0
    result: int = 0
    calls: list[Call] = field(default_factory=list)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[int, str] = field(default_factory=dict)

    def floats(self, slot: int) -> bool:
        return "float" in self.dtypes[slot]

    def float32_bytes_per_image(self) -> int:
        """Return how many bytes all tensors of the network take for one image in float32."""
        return 4 * sum(math.prod(shape) for shape in self.shapes.values())


def graph_of(network: keras.Model) -> Graph:
    """Return the layer calls of a functional network and of its inner models. Another network is a single call."""
    graph, numbers, names = Graph(), itertools.count(), dict[str, int]()
    graph.source = next(numbers)
    if is_functional(network):
        [graph.result] = expand(network, [graph.source], "", graph, numbers, names)
    else:
        graph.result = next(numbers)
        call = Call(network.name, network, (Slot(graph.source),), {}, (graph.source,), (graph.result,))
        graph.calls.append(call)
        record(graph, graph.result, network.outputs[0])
    record(graph, graph.source, network.inputs[0])
    return graph


def is_functional(layer: Any) -> bool:
    return isinstance(layer, keras.Model) and type(layer).__module__.startswith("keras.") and bool(nodes_of(layer))


def expand(
    model: Any, inputs: list[int], prefix: str, graph: Graph, numbers: Iterator[int], names: dict[str, int]
) -> list[int]:
    """Append the layer calls of a functional model to the graph, and return the numbers of its output tensors.

    Args:
        model: The model.
        inputs: The numbers of its input tensors.
        prefix: A text put before the names of the model's layers, such as "backbone/".
        graph: The graph, which the function changes.
        numbers: Yields numbers that no tensor has yet.
        names: How many calls each layer path has so far. The function changes it.
    """
    places = dict(zip(map(id, model.inputs), inputs, strict=True))
    for node in nodes_of(model) or []:
        if node.is_input:
            continue
        slots = {id(tensor): places[id(tensor)] for tensor in node.input_tensors}

        def place(value: Any, slots: dict[int, int] = slots) -> Any:
            return Slot(slots[id(value)]) if isinstance(value, keras.KerasTensor) else value

        operation, sources = node.operation, list(dict.fromkeys(slots.values()))
        if is_functional(operation) and len(sources) == len(operation.inputs):
            outputs = expand(operation, sources, f"{prefix}{operation.name}/", graph, numbers, names)
        else:
            outputs = [next(numbers) for _ in node.outputs]
            arguments = keras.tree.map_structure(place, node.arguments.args)
            keywords = {name: keras.tree.map_structure(place, value) for name, value in node.arguments.kwargs.items()}
            keywords = {name: value for name, value in keywords.items() if value is not None}
            name = f"{prefix}{operation.name}"
            names[name] = names.get(name, 0) + 1
            name += f"#{names[name]}" if names[name] > 1 else ""
            graph.calls.append(Call(name, operation, arguments, keywords, tuple(sources), tuple(outputs)))
            for slot, tensor in zip(outputs, node.outputs, strict=True):
                record(graph, slot, tensor)
        places.update(zip(map(id, node.outputs), outputs, strict=True))
    return [places[id(tensor)] for tensor in model.outputs]


def record(graph: Graph, slot: int, tensor: Any) -> None:
    shape = tuple(tensor.shape[1:])
    if None in shape:
        raise ValueError(f"kcomp compare needs a model for images of one size; a layer gives the shape {tensor.shape}")
    graph.shapes[slot], graph.dtypes[slot] = shape, keras.backend.standardize_dtype(tensor.dtype)
