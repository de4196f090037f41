"""The layer calls of a functional model, in an order in which they can run."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Slot:
    """The position of a tensor in the list of values that a model computes."""

    number: int


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: values[outputs] = operation(*arguments, **keywords).

    An argument that another layer computes is a Slot, the position of its value in `values`.

    direct: Whether `operation.call` may be called instead of `operation.__call__`.
    training: Whether the operation takes the argument `training`.
    done: Slots of the values that no later call needs.
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
        """The slot of the call's input, or None if the call has several arguments. `training` does not count."""
        is_single = len(self.arguments) == 1 and set(self.keywords) <= {"training"}
        argument = self.arguments[0] if is_single else None
        return argument.number if isinstance(argument, Slot) else None

    @property
    def reads(self) -> list[int]:
        """The slots among the arguments. A slot that is used twice is listed twice."""
        values = keras.tree.flatten((self.arguments, self.keywords))
        return [value.number for value in values if isinstance(value, Slot)]


def fill(structure: Any, values: list[Any]) -> Any:
    """Return `structure` (nested tuples, lists and dicts) with each Slot replaced by its value."""
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, tuple | list):
        return type(structure)(fill(item, values) for item in structure)
    if isinstance(structure, dict):
        return {name: fill(item, values) for name, item in structure.items()}
    return structure


def readers_of(calls: list[LayerCall]) -> dict[int, list[int]]:
    """Return, for each slot, the positions in `calls` of the calls that read it.

    A call that reads a slot twice is listed twice.
    """
    readers: dict[int, list[int]] = {}
    for number, call in enumerate(calls):
        for slot in call.reads:
            readers.setdefault(slot, []).append(number)
    return readers


def sole_readers(calls: list[LayerCall], result: int) -> dict[int, int]:
    """Return, for the position of each call whose output only one call reads, the position of that call.

    result: the slot of the model's output, which the caller of the model reads.
    """
    readers = readers_of(calls)
    readers.setdefault(result, []).append(len(calls))
    after = {number: readers.get(call.outputs[0], []) for number, call in enumerate(calls) if len(call.outputs) == 1}
    return {number: later[0] for number, later in after.items() if len(later) == 1 and later[0] < len(calls)}


def with_last_uses(calls: list[LayerCall], result: int) -> Iterator[LayerCall]:
    """Yield the calls, with `done` set to the slots that no later call reads. `result` is never among them."""
    last = {slot: number for number, call in enumerate(calls) for slot in call.reads}
    for number, call in enumerate(calls):
        done = tuple(slot for slot, use in last.items() if use == number and slot != result)
        yield dataclasses.replace(call, done=done)


def nodes_of(model: Any) -> list[Any] | None:
    """Return Keras's nodes (calls of layers) of a functional model, in an order in which they can run.

    Return None for other models.
    """
    by_depth = getattr(
        functional_of(model), "_nodes_by_depth", None
    )  # private; without it the model runs as Keras does
    return by_depth and [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def is_plain_functional(model: Any) -> bool:
    """Return whether a model is Keras's own functional class, with one input tensor and one output tensor."""
    is_keras_class = type(model).__module__.startswith("keras.")  # a subclass may have a `call` that does more
    return is_keras_class and all(is_one(getattr(functional_of(model), name, None)) for name in ("input", "output"))


def functional_of(model: Any) -> Any:
    """Return the functional model inside a built Sequential, or the model itself."""
    return getattr(model, "_functional", None) or model


def is_one(structure: Any) -> bool:
    """Return whether `structure` is a single tensor, or a list or tuple of one tensor. A dictionary does not count."""
    if isinstance(structure, list | tuple) and len(structure) == 1:
        return is_one(structure[0])
    return isinstance(structure, keras.KerasTensor)
