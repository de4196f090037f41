"""A functional model's layers called one after the other, without Keras's checks at each call, for eager PyTorch.

Keras spends about half a millisecond on each layer call: converting arguments, looking for masks, opening scopes. For
240 layers that is more than the arithmetic of a small batch. A plan of the calls is made once for a model; a layer
whose call needs none of this is called directly, any other one as Keras would.
"""

import dataclasses
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_plans: "weakref.WeakKeyDictionary[Any, Plan | None]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Step:
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


class Pair:
    """A layer and the one that alone reads what it gives, as one step, for which there may be a faster way than one
    after the other."""

    def __init__(self, first: Any, second: Any) -> None:
        self.layers = [first, second]

    def call(self, inputs: Any) -> Any:
        first, second = self.layers
        return second.call(first.call(inputs))


class NormalisedSilu(Pair):
    """Batch normalisation and silu."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        normalisation, activation = self.layers
        return activation.call(normalisation.call(inputs, training=training))


class PaddedConvolution(Pair):
    """Zeros around images and a convolution that adds none."""


class Standardised(Pair):
    """Pixels scaled, and scaled again by their mean and variance."""


@dataclass(frozen=True)
class Slot:
    """The place of a value."""

    number: int


@dataclass(frozen=True)
class Plan:
    """The steps of a model with one input and one output, in an order in which they can be run."""

    steps: tuple[Step, ...]
    size: int
    source: int
    result: int
    dtype: str
    rank: int

    def run(self, inputs: Any, training: bool | None) -> Any:
        """The model's output for these inputs, or None where they have another rank than the model's, or a mask.

        Intermediate values are freed after their last use.
        """
        inputs = keras.ops.convert_to_tensor(inputs, dtype=self.dtype)
        if len(inputs.shape) != self.rank or hasattr(inputs, "_keras_mask"):
            return None
        values: list[Any] = [None] * self.size
        values[self.source] = inputs
        for step in self.steps:
            found = call(step, values, training)
            if len(step.outputs) == 1:
                values[step.outputs[0]] = found
            else:
                for slot, value in zip(step.outputs, keras.tree.flatten(found), strict=True):
                    values[slot] = value
            for slot in step.done:
                values[slot] = None
        return values[self.result]


def call(step: Step, values: list[Any], training: bool | None) -> Any:
    """What one step gives."""
    source = step.source
    arguments, keywords = (values[source],) if source is not None else fill(step.arguments, values), step.keywords
    if keywords:
        keywords = {name: fill(value, values) for name, value in keywords.items()}
    if step.training and training is not None:
        keywords = {**keywords, "training": training}
    return (step.operation.call if step.direct else step.operation)(*arguments, **keywords)


def fill(structure: Any, values: list[Any]) -> Any:
    """`structure` (nested tuples, lists and dicts) with each Slot replaced by its value."""
    if isinstance(structure, Slot):
        return values[structure.number]
    if isinstance(structure, tuple | list):
        return type(structure)(fill(item, values) for item in structure)
    if isinstance(structure, dict):
        return {name: fill(item, values) for name, item in structure.items()}
    return structure


def run_straight(model: Any, inputs: Any, training: bool | None = None, mask: Any = None, **others: Any) -> Any:
    """What a functional model's `call` returns, or None where only Keras's own will do."""
    plan = plan_of(model) if mask is None and not others else None
    if plan is None or keras.distribution.distribution() is not None:
        return None
    if not keras.ops.is_tensor(inputs) and not isinstance(inputs, np.ndarray):
        return None
    return plan.run(inputs, training)


def plan_of(model: Any) -> Plan | None:
    """The plan of a functional model, or None where it has several inputs or outputs, a `call` of its own, or layers
    that pass masks on."""
    if model not in _plans:
        _plans[model] = make_plan(model)
    return _plans[model]


def make_plan(model: Any) -> Plan | None:
    nodes = nodes_of(model)
    if nodes is None or not is_plain_functional(model) or any(map(masks, model.layers)):
        return None
    slots = {id(model.inputs[0]): 0}
    steps = []
    for node in nodes:
        if node.is_input:
            continue
        for tensor in node.outputs:
            slots.setdefault(id(tensor), len(slots))
        steps.append(step_of(node, slots, model.compute_dtype))
    result = slots[id(model.outputs[0])]
    [source] = model.inputs
    steps = list(with_last_uses(paired(steps, result), result))
    return Plan(tuple(steps), len(slots), 0, result, source.dtype, len(source.shape))


def paired(steps: list[Step], result: int) -> list[Step]:
    """The steps, each pair of layers that has a class above in one."""
    alone, found, taken = sole_readers(steps, result), [], set()
    for number, step in enumerate(steps):
        if number in taken:
            continue
        after = alone.get(number)
        pair = None if after is None else pair_of(step, steps[after])
        if after is not None and pair is not None:
            step = dataclasses.replace(step, operation=pair, outputs=steps[after].outputs)
            taken.add(after)
        found.append(step)
    return found


def pair_of(first: Step, second: Step) -> Pair | None:
    if not all(step.direct and step.source is not None for step in (first, second)):
        return None
    layer, after = first.operation, second.operation
    if is_a(layer, keras.layers.BatchNormalization) and is_a(after, keras.layers.Activation):
        return NormalisedSilu(layer, after) if after.activation is keras.activations.silu else None
    if is_a(layer, keras.layers.Rescaling) and is_a(after, keras.layers.Normalization):
        return Standardised(layer, after)
    pads = is_a(layer, keras.layers.ZeroPadding2D) and layer.data_format == "channels_last"
    convolves = is_a(after, keras.layers.Conv2D, keras.layers.DepthwiseConv2D) and after.padding == "valid"
    return PaddedConvolution(layer, after) if pads and convolves else None


def is_a(layer: Any, *classes: Any) -> bool:
    """Whether a layer is of one of the classes itself, no subclass."""
    return type(layer) in classes


def readers_of(steps: list[Step]) -> dict[int, list[int]]:
    """The numbers of the steps that read each slot, as often as they do."""
    readers: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        for slot in step.reads:
            readers.setdefault(slot, []).append(number)
    return readers


def sole_readers(steps: list[Step], result: int) -> dict[int, int]:
    """The number of the step that alone reads what another gives, by that other's number."""
    readers = readers_of(steps)
    readers.setdefault(result, []).append(len(steps))
    found = {number: readers.get(step.outputs[0], []) for number, step in enumerate(steps) if len(step.outputs) == 1}
    return {number: those[0] for number, those in found.items() if len(those) == 1 and those[0] < len(steps)}


def nodes_of(model: Any) -> list[Any] | None:
    """The calls of layers that make up a functional model, each after those it needs; None for another model."""
    by_depth = getattr(model, "_nodes_by_depth", None)  # not public; where it is missing, Keras's own way remains
    return by_depth and [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def is_plain_functional(model: Any) -> bool:
    """Whether a model is Keras's functional class itself, with one tensor in and one out."""
    own = type(model).__module__.startswith("keras.")  # a subclass may have a `call` that does more
    return own and all(is_one(getattr(model, name, None)) for name in ("input", "output"))


def is_one(structure: Any) -> bool:
    """Whether inputs or outputs are one tensor, bare or in a list; a dictionary of one stays a dictionary."""
    if isinstance(structure, list | tuple) and len(structure) == 1:
        return is_one(structure[0])
    return isinstance(structure, keras.KerasTensor)


def masks(layer: Any) -> bool:
    """Whether a layer may make a mask: Keras's two that do, and what users wrote."""
    known = type(layer).__module__.startswith("keras.")
    makes = isinstance(layer, keras.layers.Masking | keras.layers.Embedding)
    return makes or (not known and type(layer).compute_mask is not keras.layers.Layer.compute_mask)


def step_of(node: Any, slots: dict[int, int], dtype: str) -> Step:
    operation = node.operation

    training = bool(getattr(operation, "_call_has_training_arg", False))

    def place(value: Any) -> Any:
        return Slot(slots[id(value)]) if isinstance(value, keras.KerasTensor) else value

    return Step(
        operation,
        keras.tree.map_structure(place, node.arguments.args),
        {
            name: keras.tree.map_structure(place, value)
            for name, value in node.arguments.kwargs.items()
            if value is not None and (training or name != "training")  # which Keras takes from any call
        },
        tuple(slots[id(tensor)] for tensor in node.outputs),
        direct=is_direct(operation, [tensor.dtype for tensor in node.input_tensors], dtype),
        training=training,
    )


def is_direct(operation: Any, dtypes: list[str], dtype: str) -> bool:
    """Whether nothing of Keras's `__call__` matters to this operation: Keras's own, without layers inside, in the one
    precision that its inputs and the whole model (`dtype`) have, and neither quantized, rematerialised nor regularised
    by what it returns."""
    if not type(operation).__module__.startswith("keras."):
        return False
    if not isinstance(operation, keras.layers.Layer):
        return isinstance(operation, keras.Operation)
    return (
        operation.built
        and not list(operation._flatten_layers(include_self=False))
        and operation.compute_dtype == operation.variable_dtype == dtype  # else Keras casts weights around the call
        and all(dtype == operation.input_dtype for dtype in dtypes)
        and operation.quantization_mode is None
        and getattr(operation, "activity_regularizer", None) is None
        and not getattr(operation, "_remat_mode", None)
    )


def with_last_uses(steps: list[Step], result: int) -> Iterator[Step]:
    """The steps, each with the values that it is the last to need."""
    last = {slot: number for number, step in enumerate(steps) for slot in step.reads}
    for number, step in enumerate(steps):
        done = tuple(slot for slot, use in last.items() if use == number and slot != result)
        yield dataclasses.replace(step, done=done)
