"""A network's inference on PyTorch: its plan with convolutions that take in the layers around them, and values written
over where nothing else reads them."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import torch

from kcomp.fast.convolution import covers_convolution
from kcomp.fast.folding_torch import Excited, Folded, Overwriting, WithMeans, in_place
from kcomp.fast.pairs import NormalisedSilu, Pair
from kcomp.fast.silu_torch import silu_in_place
from kcomp.fast.steps import Step, readers_of, sole_readers, with_last_uses
from kcomp.fast.straight import Plan, plan_of


def inference_of(network: keras.Model, *, fold: bool = True) -> Callable[[Any], Any]:
    """A function of images (batch, height, width, channels) that gives what `network(images, training=False)` gives.

    It takes the weights as they are at the call; with `fold`, what is folded is made again after the variables it had
    when this was called were assigned, loaded or trained.
    """
    if not fold:
        return torch.inference_mode()(lambda images: network(images, training=False))

    tensors = [variable.value for variable in network.variables]
    kept: dict[str, Any] = {"versions": None, "plan": None}

    def run(images: Any) -> Any:
        versions = [tensor._version for tensor in tensors]  # PyTorch counts updates
        with torch.inference_mode():
            if versions != kept["versions"]:
                kept.update(versions=versions, plan=again(kept["plan"]) or first(network))
            outputs = kept["plan"] and kept["plan"].run(images, training=False)
            return network(images, training=False) if outputs is None else outputs

    return run


def first(network: keras.Model) -> Plan | None:
    """The folded plan of a network, None where it has none."""
    plan = plan_of(network)
    return None if plan is None else folded(plan)


def again(plan: Plan | None) -> Plan | None:
    """A folded plan with the weights as they are now."""
    for step in () if plan is None else plan.steps:
        if isinstance(step.operation, Folded | WithMeans | Excited):
            step.operation.fold()
    return plan


def folded(plan: Plan) -> Plan:
    """The plan with each convolution, the zeros put around it, its normalisation and its activation in one step."""
    steps = excited(list(joined(plan)), plan.result)
    return dataclasses.replace(plan, steps=tuple(with_last_uses(steps, plan.result)))


def joined(plan: Plan) -> Iterator[Step]:
    readers, alone = readers_of(list(plan.steps)), sole_readers(list(plan.steps), plan.result)

    def next_alone(number: int) -> Step | None:
        """The step that alone reads what step `number` gives, where nothing else of Keras's call matters to it."""
        step = plan.steps[alone[number]] if number in alone else None
        return step if step is not None and step.direct and step.source is not None else None

    places = {id(step): number for number, step in enumerate(plan.steps)}
    taken: set[int] = set()
    fresh: set[int] = set()  # what convolutions give, in memory of its own
    for number, step in enumerate(plan.steps):
        if number in taken:
            continue
        group = group_from(step, lambda step: next_alone(places[id(step)]))
        if not group:
            yield overwriting(step, number, plan, readers) if fresh.intersection(step.reads[:1]) else step
            continue
        taken |= {places[id(step)] for step in group}
        operation: Any = Folded([layer for step in group for layer in layers_of(step)])
        outputs = group[-1].outputs
        fresh |= set(outputs)
        averages = [place for place in readers.get(outputs[0], ()) if is_average(plan.steps[place])]
        if averages and operation.activation is silu_in_place:
            average = plan.steps[averages[0]]
            operation, outputs = WithMeans(operation, average.operation), outputs + average.outputs
            taken.add(averages[0])
        yield dataclasses.replace(step, operation=operation, outputs=outputs, training=False)


def group_from(first: Step, after: Callable[[Step], Step | None]) -> list[Step]:
    """The steps that one convolution takes the place of, in order: zeros around it, itself, normalisation, activation
    and dropout, where they are there; empty where `first` does not begin such a group."""
    group, layer = [first], layers_of(first)[-1]
    if first.source is None or not first.direct or not covers_convolution(layer):
        return []
    if layer.activation is not keras.activations.linear:
        return group
    if (step := after(group[-1])) is not None and is_plain_normalisation(layers_of(step)[0]):
        group.append(step)
    activated = type(group[-1].operation) is NormalisedSilu
    if not activated and (step := after(group[-1])) is not None and in_place(step.operation) is not None:
        group.append(step)
    if (step := after(group[-1])) is not None and type(step.operation) is keras.layers.Dropout:
        group.append(step)
    return group


def excited(steps: list[Step], result: int) -> list[Step]:
    """The steps, squeeze and excitation after a convolution in one with it."""
    readers, found, taken = readers_of(steps), [], set()
    for number, step in enumerate(steps):
        if number in taken:
            continue
        chain = gate_after(step, steps, readers) if isinstance(step.operation, WithMeans) else []
        if chain and result not in (*step.outputs, *(slot for place in chain[:-1] for slot in steps[place].outputs)):
            *gate, merge = (steps[place].operation for place in chain)
            step = dataclasses.replace(
                step, operation=Excited(step.operation, gate, merge), outputs=steps[chain[-1]].outputs
            )
            taken |= set(chain)
        found.append(step)
    return found


def gate_after(start: Step, steps: list[Step], readers: dict[int, list[int]]) -> list[int]:
    """The numbers of the steps from a convolution's averages to the product of its outputs with what follows from
    them, each alone in reading what the one before gives; empty where they are not as Excited does them."""
    outputs, slot = start.outputs
    chain: list[int] = []
    while len(those := readers.get(slot, [])) == 1:
        chain += those
        last = steps[those[0]]
        if isinstance(last.operation, Overwriting):
            merges = last.operation.change is torch.Tensor.mul_ and last.reads == [outputs, slot]
            whole = merges and readers[outputs] == those and len(chain) > 2
            gate = [steps[place].operation for place in chain[:-1]]
            return chain if whole and Excited.suits(start.operation, gate) else []
        if len(last.outputs) != 1 or not last.direct or last.source is None:
            return []
        [slot] = last.outputs
    return []


def is_average(step: Step) -> bool:
    """Whether a step averages images over height and width."""
    plain = type(step.operation) is keras.layers.GlobalAveragePooling2D and step.direct and step.source is not None
    return plain and step.operation.data_format == "channels_last"


def overwriting(step: Step, number: int, plan: Plan, readers: dict[int, list[int]]) -> Step:
    """The step, or for a product or sum one that writes over its first value, where only averages before it read that
    too."""
    change = {keras.layers.Multiply: torch.Tensor.mul_, keras.layers.Add: torch.Tensor.add_}.get(type(step.operation))
    value = step.reads[0]
    *before, last = readers[value]
    averaged = all(is_average(plan.steps[place]) for place in before)
    plain = step.direct and len(step.arguments) == 1 and not step.keywords
    if change is None or not plain or value == plan.result or last != number or not averaged:
        return step
    return dataclasses.replace(step, operation=Overwriting(step.operation, change))


def layers_of(step: Step) -> list[Any]:
    return list(step.operation.layers) if isinstance(step.operation, Pair) else [step.operation]


def is_plain_normalisation(layer: Any) -> bool:
    return type(layer) is keras.layers.BatchNormalization and not layer.renorm and layer.axis in (-1, 3)
