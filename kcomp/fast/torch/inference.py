"""Compute a network's predictions on PyTorch with fewer operations."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import torch

from kcomp.engine.graph import LayerCall, functional_of, readers_of, sole_readers, with_last_uses
from kcomp.fast.excitation import Excitation
from kcomp.fast.layers import covers_convolution
from kcomp.fast.pairs import NormalisedSilu, Pair
from kcomp.fast.straight import Plan, plan_of
from kcomp.fast.torch.folding import Excited, Folded, Overwriting, in_place_activation


def inference_of(network: keras.Model) -> Callable[[Any], Any]:
    """Return a function of images (batch, height, width, channels) equal to `network(images, training=False)`.

    The function always uses the network's current weights and layers.
    """
    state: dict[str, Any] = {"functional": None}

    def run(images: Any) -> Any:
        if state["functional"] is not functional_of(network):
            state.update(functional=functional_of(network), versions=None, plan=None)
            state["tensors"] = [variable.value for variable in network.variables]
        versions = [tensor._version for tensor in state["tensors"]]  # PyTorch counts the updates of each tensor
        with torch.inference_mode():
            if versions != state["versions"]:
                state.update(versions=versions, plan=refold(state["plan"]) or folded_plan_of(network))
            outputs = state["plan"] and state["plan"].run(images, training=False)
            return network(images, training=False) if outputs is None else outputs

    return run


def folded_plan_of(network: keras.Model) -> Plan | None:
    """Return a network's layer calls in order. One call replaces each convolution and the layers around it.

    Return None if kcomp.fast.straight does not support the network.
    """
    plan = plan_of(network)
    return None if plan is None else fold_plan(plan)


def refold(plan: Plan | None) -> Plan | None:
    """Compute the folded kernels again from the current weights, and return the plan."""
    for step in () if plan is None else plan.steps:
        if isinstance(step.operation, Folded | Excited):
            step.operation.fold()
    return plan


def fold_plan(plan: Plan) -> Plan:
    """Return a network's layer calls in which one call replaces each convolution and the layers around it.

    These layers are zero padding before the convolution, and normalisation and activation after it.
    """
    return dataclasses.replace(plan, steps=tuple(with_last_uses(list(folded_steps(plan)), plan.result)))


def folded_steps(plan: Plan) -> Iterator[LayerCall]:
    readers, alone = readers_of(list(plan.steps)), sole_readers(list(plan.steps), plan.result)

    def next_alone(number: int) -> LayerCall | None:
        """Return the only call that reads the output of call `number`. None if several calls read it.

        Also return None if the reader has another input, or cannot be called without Keras's checks.
        """
        step = plan.steps[alone[number]] if number in alone else None
        return step if step is not None and step.direct and step.source is not None else None

    places = {id(step): number for number, step in enumerate(plan.steps)}
    skipped: set[int] = set()  # numbers of calls that are part of an earlier, folded call
    fresh: set[int] = set()  # slots of convolutions' outputs; no other value shares their memory
    for number, step in enumerate(plan.steps):
        if number in skipped:
            continue
        group = group_from(step, lambda step: next_alone(places[id(step)]))
        if not group:
            yield overwriting(step, number, plan, readers) if fresh.intersection(step.reads[:1]) else step
            continue
        skipped |= {places[id(step)] for step in group}
        operation: Any = Folded([layer for step in group for layer in layers_of(step)])
        if isinstance(group[-1].operation, Excitation):
            operation = Excited(operation, group[-1].operation)
        fresh |= set(group[-1].outputs)
        yield dataclasses.replace(step, operation=operation, outputs=group[-1].outputs, training=False)


def group_from(first: LayerCall, after: Callable[[LayerCall], LayerCall | None]) -> list[LayerCall]:
    """Return the successive calls that one folded convolution can replace, beginning with `first`. Empty if there are
    none.

    `after` takes a call, and returns the only call that reads its output, or None.
    """
    group, layer = [first], layers_of(first)[-1]
    if first.source is None or not first.direct or not covers_convolution(layer):
        return []
    if layer.activation is not keras.activations.linear:
        return group
    if (step := after(group[-1])) is not None and is_plain_normalisation(layers_of(step)[0]):
        group.append(step)
    if isinstance(group[-1].operation, Excitation):
        return group
    activated = type(group[-1].operation) is NormalisedSilu
    if not activated and (step := after(group[-1])) is not None and in_place_activation(step.operation) is not None:
        group.append(step)
    if (step := after(group[-1])) is not None and type(step.operation) is keras.layers.Dropout:
        group.append(step)
    return group


def overwriting(step: LayerCall, number: int, plan: Plan, readers: dict[int, list[int]]) -> LayerCall:
    """Return a copy of an Add or Multiply call that overwrites its first input. Return `step` if this is not possible.

    number:  the position of `step` in the plan.
    readers: for each slot (the number of a tensor), the positions of the calls that read it.
    """
    change = {keras.layers.Multiply: torch.Tensor.mul_, keras.layers.Add: torch.Tensor.add_}.get(type(step.operation))
    value = step.reads[0]
    plain = step.direct and len(step.arguments) == 1 and not step.keywords
    if change is None or not plain or value == plan.result or readers[value] != [number]:
        return step
    return dataclasses.replace(step, operation=Overwriting(step.operation, change))


def layers_of(step: LayerCall) -> list[Any]:
    """Return the layers that one call of the plan runs. For squeeze and excitation, return only the layers before
    it.
    """
    operation = step.operation.activated if isinstance(step.operation, Excitation) else step.operation
    return list(operation.layers) if isinstance(operation, Pair) else [operation]


def is_plain_normalisation(layer: Any) -> bool:
    return type(layer) is keras.layers.BatchNormalization and not layer.renorm and layer.axis in (-1, 3)
