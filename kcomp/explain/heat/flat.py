"""List the layer calls of a network and of its inner models, so that the network can run in two parts."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras.src.models.functional import Functional

from kcomp.engine.graph import LayerCall, Slot, functional_of, nodes_of, with_last_uses
from kcomp.fast.straight import call, step_of


@dataclass(frozen=True)
class FlatNetwork:
    """The layer calls of a network and of its inner models, in an order in which they can run.

    Each tensor has a number. The images have number 0.

    Attributes:
        calls: The layer calls. They keep all tensors in memory; those that `split` returns free a tensor after its last
            use.
        paths: For each tensor, the path of the layer that computes it: its name, or "inner/layer".
        shapes: For each tensor, its shape, with None for an unknown side.
        result: The number of the network's output.
        dtype: The dtype of the images.
    """

    calls: tuple[LayerCall, ...]
    paths: tuple[str, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    result: int
    dtype: str

    def split(self, tensor: int) -> tuple[list[LayerCall], list[LayerCall]]:
        """Return two lists: the calls up to the one that computes the tensor with this number, and the later calls."""
        calls = list(with_last_uses(list(self.calls), self.result))
        place = next(number for number, step in enumerate(calls) if tensor in step.outputs)
        return calls[: place + 1], calls[place + 1 :]

    def needed_tensors(self) -> set[int]:
        needed = {self.result}
        for step in reversed(self.calls):
            if needed.intersection(step.outputs):
                needed.update(step.reads)
        return needed

    def bottlenecks(self, needed: set[int]) -> list[int]:
        """Return the numbers of the tensors that every path from the images to the output passes, in order.

        `needed` has the numbers of the tensors that the output depends on.
        """
        last_use = {slot: number for number, step in enumerate(self.calls) for slot in step.reads}
        alive = {0}
        passed: list[int] = []
        for number, step in enumerate(self.calls):
            alive |= needed.intersection(step.outputs)
            alive -= {slot for slot in alive if last_use.get(slot, len(self.calls)) <= number}
            if len(alive) == 1 and alive.issubset(step.outputs):
                passed += alive
        return passed

    def initial_values(self, images: Any) -> list[Any]:
        """Return a list with an entry for each tensor of the network: the images, and None for all other tensors."""
        values: list[Any] = [None] * len(self.shapes)
        values[0] = keras.ops.convert_to_tensor(images, dtype=self.dtype)
        return values


def run(calls: Sequence[LayerCall], values: list[Any]) -> None:
    """Run layer calls in inference mode. Write their outputs into `values`, a list with an entry for each tensor."""
    for step in calls:
        outputs = call(step, values, training=False)
        for slot, value in zip(step.outputs, keras.tree.flatten(outputs), strict=True):
            values[slot] = value
        for slot in step.done:
            values[slot] = None


def flatten(network: keras.Model) -> FlatNetwork:
    """Return the layer calls of a functional network with one input and one output.

    Raises:
        TypeError: If the network is of another kind.
    """
    model = functional_of(network)
    if not is_functional(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TypeError(
            "heat maps need a Sequential, or a functional model keras.Model(inputs, outputs) with one input and one "
            f"output; received a {type(network).__name__}"
        )
    builder = FlatBuilder()
    [images] = model.inputs
    first = builder.add("", images.shape)
    [result] = builder.inline(model, [first], "")
    return FlatNetwork(
        tuple(builder.calls),
        tuple(builder.paths),
        tuple(builder.shapes),
        result,
        keras.backend.standardize_dtype(images.dtype),
    )


@dataclass
class FlatBuilder:
    """Collects the calls, paths and shapes of a `FlatNetwork`."""

    calls: list[LayerCall] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    shapes: list[tuple[int | None, ...]] = field(default_factory=list)

    def add(self, path: str, shape: Any) -> int:
        self.paths.append(path)
        self.shapes.append(tuple(shape))
        return len(self.shapes) - 1

    def inline(self, model: Any, sources: Sequence[int], prefix: str) -> list[int]:
        """Add the layer calls of a model and of its inner models. Return the numbers of the model's output tensors.

        Args:
            model: The model.
            sources: The numbers of the model's input tensors.
            prefix: The start of the path of each layer.
        """
        slots = dict(zip(map(id, model.inputs), map(self.cast, model.inputs, sources), strict=True))
        for node in nodes_of(model) or []:
            if node.is_input:
                continue
            inner = functional_of(node.operation)
            path = prefix + node.operation.name
            if is_functional(inner) and len(node.input_tensors) == len(inner.inputs):
                results = self.inline(inner, [slots[id(tensor)] for tensor in node.input_tensors], f"{path}/")
                slots |= dict(zip(map(id, node.outputs), results, strict=True))
                continue
            slots |= {id(tensor): self.add(path, tensor.shape) for tensor in node.outputs}
            self.calls.append(dataclasses.replace(step_of(node, slots, model), direct=False))
        return [slots[id(tensor)] for tensor in model.outputs]

    def cast(self, declared: Any, source: int) -> int:
        """Add a conversion of the tensor `source` to the dtype of a model's input.

        Return the number of the new tensor.
        """
        if not self.calls:  # the images have this type already
            return source
        outputs = (self.add(self.paths[source], self.shapes[source]),)
        keywords = {"dtype": keras.backend.standardize_dtype(declared.dtype)}
        self.calls.append(LayerCall(keras.ops.cast, (Slot(source),), keywords, outputs, direct=False, training=False))
        return outputs[0]


def is_functional(model: Any) -> bool:
    """Return whether Keras runs a model as a graph of layers, so that no subclass defines its own `call`."""
    return isinstance(model, Functional) and type(model).call is Functional.call


def layers_in(step: LayerCall) -> Iterator[keras.layers.Layer]:
    """Yield the layer of a call, and all layers inside it."""
    if isinstance(step.operation, keras.layers.Layer):
        yield step.operation
        yield from step.operation._flatten_layers(include_self=False)
