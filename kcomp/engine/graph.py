"""List the layer calls of a functional model, in an order in which they can run."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Slot:
    """The position of a tensor in a list of all tensors that a model computes."""

    number: int


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer in a functional model: values[outputs] = operation(*arguments, **keywords).

    `values` lists the model's tensors. A Slot in the arguments stands for a tensor in this list.

    operation: the layer, or another Keras operation.
    outputs:   positions of the results in `values`.
    direct:    whether `operation.call` may be called instead of `operation.__call__`.
    training:  whether the operation takes the argument `training`.
    done:      positions of the tensors that no later call needs.
    """

    operation: Any
    arguments: Any
    keywords: dict[str, Any]
    outputs: tuple[int, ...]
    direct: bool
    training: bool
    done: tuple[int, ...] = ()

    @property
    def source(self) -> int | None:
        """The position in `values` of the call's input. None unless it has exactly one input."""
        is_single = len(self.arguments) == 1 and set(self.keywords) <= {"training"}
        argument = self.arguments[0] if is_single else None
        return argument.number if isinstance(argument, Slot) else None

    @property
    def reads(self) -> list[int]:
        """The positions in `values` of the tensors that the call reads. A tensor that is read twice is listed twice."""
        values = keras.tree.flatten((self.arguments, self.keywords))
        return [value.number for value in values if isinstance(value, Slot)]


def fill(structure: Any, values: list[Any]) -> Any:
    """Return nested tuples, lists and dicts with a tensor of `values` in place of each Slot."""
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, tuple | list):
        return type(structure)(fill(item, values) for item in structure)
    if isinstance(structure, dict):
        return {name: fill(item, values) for name, item in structure.items()}
    return structure


def readers_of(calls: list[LayerCall]) -> dict[int, list[int]]:
    """Return {position of a tensor: numbers of the calls that read it}."""
    readers: dict[int, list[int]] = {}
    for number, call in enumerate(calls):
        for slot in call.reads:
            readers.setdefault(slot, []).append(number)
    return readers


def sole_readers(calls: list[LayerCall], result: int) -> dict[int, int]:
    """Return {call: its reader} for each call whose output is read by exactly one other call. Both are positions in
    `calls`.

    The call that computes the model's output is left out. `result` is the position of this output among the tensors.
    """
    readers = readers_of(calls)
    readers.setdefault(result, []).append(len(calls))
    after = {number: readers.get(call.outputs[0], []) for number, call in enumerate(calls) if len(call.outputs) == 1}
    return {number: later[0] for number, later in after.items() if len(later) == 1 and later[0] < len(calls)}


def with_last_uses(calls: list[LayerCall], result: int) -> Iterator[LayerCall]:
    """Yield the calls, with `done` set to the positions of the tensors that no later call reads.

    `result` is the position of the model's output, which is never in `done`.
    """
    last = {slot: number for number, call in enumerate(calls) for slot in call.reads}
    for number, call in enumerate(calls):
        done = tuple(slot for slot, use in last.items() if use == number and slot != result)
        yield dataclasses.replace(call, done=done)


def nodes_of(model: Any) -> list[Any] | None:
    """Return the nodes (calls of layers) of a functional model in the order in which Keras runs them. None for other
    models.
    """
    # not public; without this attribute, the model runs as Keras runs it
    by_depth = getattr(functional_of(model), "_nodes_by_depth", None)
    return by_depth and [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def bottlenecks(nodes: Sequence[Any], outputs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield (position, output) of each layer call after which the network needs only the output of this call.

    Args:
        nodes: The layer calls of the network, in order.
        outputs: The output tensors of the network.
    """
    waiting: dict[int, int] = {}  # how many later nodes and outputs use each tensor
    for tensor in [*outputs, *(tensor for node in nodes for tensor in node.input_tensors)]:
        waiting[id(tensor)] = waiting.get(id(tensor), 0) + 1
    alive: dict[int, Any] = {}
    for place, node in enumerate(nodes):
        for tensor in node.input_tensors:
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                alive.pop(id(tensor))
        alive |= {id(tensor): tensor for tensor in node.output_tensors if waiting.get(id(tensor))}
        if len(alive) == 1:
            yield place, next(iter(alive.values()))


def is_plain_functional(model: Any) -> bool:
    """Return whether a model is Sequential or functional, is not of a subclass, and has one input and one output."""
    is_keras_class = type(model).__module__.startswith("keras.")  # a subclass may have another `call`
    ends = [getattr(functional_of(model), name, None) for name in ("input", "output")]
    return is_keras_class and all(map(is_one_tensor, ends))


def functional_of(model: Any) -> Any:
    """Return the functional model inside a built Sequential model. Any other model is returned unchanged."""
    return getattr(model, "_functional", None) or model


def is_one_tensor(structure: Any) -> bool:
    """Return whether `structure` is a single tensor, or a list or tuple of one tensor."""
    if isinstance(structure, list | tuple) and len(structure) == 1:
        return is_one_tensor(structure[0])
    return isinstance(structure, keras.KerasTensor)
