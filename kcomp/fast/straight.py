"""Run a functional model's layers in order without Keras's checks at each call, on PyTorch.

Where the checks could change the result, Keras's own `__call__` runs.
"""

import contextlib
import weakref
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras.src.backend import AutocastScope

from kcomp.engine.graph import LayerCall, Slot, fill, functional_of, is_plain_functional, nodes_of, with_last_uses
from kcomp.fast.excitation import join_excitations
from kcomp.fast.pairs import join_pairs

_plans: "weakref.WeakKeyDictionary[Any, Plan | None]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Plan:
    """The list of a functional model's layer calls, in an order in which they can run.

    The model has one input and one output. Each tensor has a number, its slot.

    steps:    the calls.
    size:     how many slots there are.
    source:   slot of the model's input.
    result:   slot of the model's output.
    dtype:    type of the input.
    rank:     how many dimensions the input has.
    autocast: type that weights are cast to in mixed precision, else None.
    """

    steps: tuple[LayerCall, ...]
    size: int
    source: int
    result: int
    dtype: str
    rank: int
    autocast: str | None = None

    def run(self, inputs: Any, training: bool | None) -> Any:
        """Return the model's output, or None if the inputs have a mask or another rank than the model's input."""
        inputs = keras.ops.convert_to_tensor(inputs, dtype=self.dtype)
        if len(inputs.shape) != self.rank or hasattr(inputs, "_keras_mask"):
            return None
        values: list[Any] = [None] * self.size
        values[self.source] = inputs
        with AutocastScope(self.autocast) if self.autocast else contextlib.nullcontext():
            for step in self.steps:
                outputs = call(step, values, training)
                if len(step.outputs) == 1:
                    values[step.outputs[0]] = outputs
                else:
                    for slot, value in zip(step.outputs, keras.tree.flatten(outputs), strict=True):
                        values[slot] = value
                for slot in step.done:
                    values[slot] = None
        return values[self.result]


def call(step: LayerCall, values: list[Any], training: bool | None) -> Any:
    """Run one call of a layer, and return its output. `values` is the list of tensors computed so far."""
    source = step.source
    arguments, keywords = (values[source],) if source is not None else fill(step.arguments, values), step.keywords
    if keywords:
        keywords = {name: fill(value, values) for name, value in keywords.items()}
    if step.training and training is not None:
        keywords = {**keywords, "training": training}
    return (step.operation.call if step.direct else step.operation)(*arguments, **keywords)


def run_straight(model: Any, inputs: Any, training: bool | None = None, mask: Any = None, **others: Any) -> Any:
    """Return a functional model's output without Keras's checks. None if Keras's own `call` must run."""
    plan = plan_of(model) if mask is None and not others else None
    if plan is None or keras.distribution.distribution() is not None:
        return None
    if not keras.ops.is_tensor(inputs) and not isinstance(inputs, np.ndarray):
        return None
    return plan.run(inputs, training)


def plan_of(model: Any) -> Plan | None:
    """Return a functional model's layer calls in order (its plan). kcomp makes it once for each model.

    Return None if the model has several inputs or outputs, overrides `call`, or has layers that make masks.
    """
    model = functional_of(model)  # a Sequential makes a new functional model when its layers change
    if model not in _plans:
        _plans[model] = make_plan(model)
    return _plans[model]


def make_plan(model: Any) -> Plan | None:
    """Return a new plan (list of layer calls) of a functional model, or None for a model that `plan_of` excludes."""
    nodes = nodes_of(model)
    if nodes is None or not is_plain_functional(model):
        return None
    if any(map(may_make_mask, model._flatten_layers(include_self=False))):
        return None
    slots = {id(model.inputs[0]): 0}
    steps = []
    for node in nodes:
        if node.is_input:
            continue
        for tensor in node.outputs:
            slots.setdefault(id(tensor), len(slots))
        steps.append(step_of(node, slots, model))
    result = slots[id(model.outputs[0])]
    [source] = model.inputs
    steps = list(with_last_uses(join_excitations(join_pairs(steps, result)), result))
    autocast = model.compute_dtype if model.compute_dtype != model.variable_dtype else None
    return Plan(tuple(steps), len(slots), 0, result, source.dtype, len(source.shape), autocast)


def may_make_mask(layer: Any) -> bool:
    known = type(layer).__module__.startswith("keras.")
    makes = isinstance(layer, keras.layers.Masking | keras.layers.Embedding)
    return makes or (not known and type(layer).compute_mask is not keras.layers.Layer.compute_mask)


def step_of(node: Any, slots: dict[int, int], model: Any) -> LayerCall:
    """Return the layer call that a Keras node of a functional model stands for.

    `slots` has the number of each tensor, by id(tensor).
    """
    operation = node.operation
    training = bool(getattr(operation, "_call_has_training_arg", False))

    def place(value: Any) -> Any:
        return Slot(slots[id(value)]) if isinstance(value, keras.KerasTensor) else value

    return LayerCall(
        operation,
        keras.tree.map_structure(place, node.arguments.args),
        {
            name: keras.tree.map_structure(place, value)
            for name, value in node.arguments.kwargs.items()
            if value is not None
            and (training or name != "training")  # Keras drops `training` where the layer does not take it
        },
        tuple(slots[id(tensor)] for tensor in node.outputs),
        direct=is_direct(operation, dtypes_in(node.arguments), model),
        training=training,
    )


def dtypes_in(arguments: Any) -> list[str]:
    """Return the dtypes of all tensors and arrays among the arguments of a call."""
    values = keras.tree.flatten((arguments.args, arguments.kwargs))
    return [keras.backend.standardize_dtype(value.dtype) for value in values if hasattr(value, "dtype")]


def is_direct(operation: Any, dtypes: list[str], model: Any) -> bool:
    """Return whether `operation.call` and `operation.__call__` give the same result for inputs of the types `dtypes`.

    This is true for Keras's own operations in the model's precision, with few exceptions.
    """
    if not type(operation).__module__.startswith("keras."):
        return False
    if not isinstance(operation, keras.layers.Layer):
        return isinstance(operation, keras.Operation)
    return (
        operation.built
        and not list(operation._flatten_layers(include_self=False))
        and operation.compute_dtype == model.compute_dtype
        and operation.variable_dtype == model.variable_dtype
        and (
            operation.autocast or model.compute_dtype == model.variable_dtype
        )  # without autocast, weights are not cast
        and all(operation.input_dtype == dtype for dtype in dtypes)
        and operation.quantization_mode is None
        and getattr(operation, "activity_regularizer", None) is None
        and not getattr(operation, "_remat_mode", None)
    )
