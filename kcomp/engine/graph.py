"""The calls of layers that a functional model is made of, in an order in which they can be run."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class Slot:
    """The place of a value."""

    number: int


@dataclass(frozen=True)
class LayerCall:
    """One call: values[outputs] = operation(*arguments, **keywords), where a Slot among them stands for a value.

    `direct` tells that `operation.call` may be used; `training`, that it takes this argument; `done`, the values that
    no later step needs.
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
        """The slot of the only argument beside `training`, or None where there are several."""
        alone = len(self.arguments) == 1 and set(self.keywords) <= {"training"}
        only = self.arguments[0] if alone else None
        return only.number if isinstance(only, Slot) else None

    @property
    def reads(self) -> list[int]:
        """The slots among the arguments, as often as they stand there."""
        found = keras.tree.flatten((self.arguments, self.keywords))
        return [value.number for value in found if isinstance(value, Slot)]


def fill(structure: Any, values: list[Any]) -> Any:
    """`structure` (nested tuples, lists and dicts) with each Slot replaced by its value."""
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, tuple | list):
        return type(structure)(fill(item, values) for item in structure)
    if isinstance(structure, dict):
        return {name: fill(item, values) for name, item in structure.items()}
    return structure


def readers_of(steps: list[LayerCall]) -> dict[int, list[int]]:
    """The numbers of the steps that read each slot, as often as they do."""
    readers: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        for slot in step.reads:
            readers.setdefault(slot, []).append(number)
    return readers


def sole_readers(steps: list[LayerCall], result: int) -> dict[int, int]:
    """The number of the step that alone reads what another gives, by that other's number."""
    readers = readers_of(steps)
    readers.setdefault(result, []).append(len(steps))
    found = {number: readers.get(step.outputs[0], []) for number, step in enumerate(steps) if len(step.outputs) == 1}
    return {number: those[0] for number, those in found.items() if len(those) == 1 and those[0] < len(steps)}


def with_last_uses(steps: list[LayerCall], result: int) -> Iterator[LayerCall]:
    """The steps, each with the values that it is the last to need."""
    last = {slot: number for number, step in enumerate(steps) for slot in step.reads}
    for number, step in enumerate(steps):
        done = tuple(slot for slot, use in last.items() if use == number and slot != result)
        yield dataclasses.replace(step, done=done)


def nodes_of(model: Any) -> list[Any] | None:
    """The calls of layers that make up a functional model, each after those it needs; None for another model."""
    by_depth = getattr(functional_of(model), "_nodes_by_depth", None)  # not public; without it Keras's own way remains
    return by_depth and [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def is_plain_functional(model: Any) -> bool:
    """Whether a model is Keras's functional class itself, with one tensor in and one out."""
    own = type(model).__module__.startswith("keras.")  # a subclass may have a `call` that does more
    return own and all(is_one(getattr(functional_of(model), name, None)) for name in ("input", "output"))


def functional_of(model: Any) -> Any:
    """The functional model that a Sequential holds as soon as it knows the shape of its input; else the model."""
    return getattr(model, "_functional", None) or model


def is_one(structure: Any) -> bool:
    """Whether inputs or outputs are one tensor, bare or in a list; a dictionary of one stays a dictionary."""
    if isinstance(structure, list | tuple) and len(structure) == 1:
        return is_one(structure[0])
    return isinstance(structure, keras.KerasTensor)
