"""Squeeze and excitation (Hu et al. 2018), with the batch normalisation and silu before it, as one step."""

import dataclasses
from typing import Any

import keras

from kcomp.engine.graph import Step, readers_of
from kcomp.fast.pairs import NormalisedSilu, is_a


class Excitation:
    """Batch normalisation and silu, averages of each image, two products of these, with silu and with sigmoid, and the
    product of what was averaged with that gate."""

    def __init__(self, activated: NormalisedSilu, gate: list[Any], merge: Any) -> None:
        self.activated, self.gate, self.merge = activated, gate, merge
        *_, self.first, self.second = gate

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.gated(self.activated.call(inputs, training=training))

    def gated(self, values: Any) -> Any:
        """What is left to do after silu."""
        found = values
        for layer in self.gate:
            found = layer.call(found)
        return self.merge.call([values, found])

    @property
    def usual(self) -> bool:
        """Whether the activations are silu, silu and sigmoid; they may have been set since."""
        return are_usual(self.activated, self.first, self.second)


def are_usual(activated: NormalisedSilu, first: Any, second: Any) -> bool:
    """Whether the activations are silu, silu and sigmoid."""
    found = activated.layers[1].activation, first.activation, second.activation
    return found == (keras.activations.silu, keras.activations.silu, keras.activations.sigmoid)


def excited(steps: list[Step]) -> list[Step]:
    """The steps, each squeeze and excitation in one."""
    readers, found, taken = readers_of(steps), [], set()
    for number, step in enumerate(steps):
        if number in taken:
            continue
        chain = chain_after(step, steps, readers) if is_a(step.operation, NormalisedSilu) else []
        layers = [steps[place].operation for place in chain]
        if len(chain) > 3 and is_usual(step.operation, layers):
            operation = Excitation(step.operation, layers[:-1], layers[-1])
            step = dataclasses.replace(step, operation=operation, outputs=steps[chain[-1]].outputs)
            taken |= set(chain)
        found.append(step)
    return found


def chain_after(start: Step, steps: list[Step], readers: dict[int, list[int]]) -> list[int]:
    """The numbers of the steps from the averages of a step's output to its product with what follows from them, each
    alone in reading what the one before gives; empty where there are others."""
    [values] = start.outputs
    reading = readers.get(values, [])
    if len(reading) != 2 or reading[0] == reading[1]:
        return []
    chain, merge = reading[:1], reading[1]
    while chain[-1] != merge:
        step = steps[chain[-1]]
        if not step.direct or step.source is None or len(step.outputs) != 1:
            return []
        [slot] = step.outputs
        after = readers.get(slot, [])
        if len(after) != 1:
            return []
        chain += after
    last = steps[merge]
    merges = is_a(last.operation, keras.layers.Multiply) and last.direct and len(last.arguments) == 1
    return chain if merges and not last.keywords and last.reads == [values, slot] else []


def is_usual(activated: NormalisedSilu, layers: list[Any]) -> bool:
    """Whether layers from averages to product are those of squeeze and excitation as EfficientNets have it."""
    pooling, *between, first, second, _ = layers
    channels = activated.layers[0].moving_mean.shape[0]
    images = is_a(pooling, keras.layers.GlobalAveragePooling2D) and pooling.data_format == "channels_last"
    shapes = [shape_of(layer) for layer in between]
    shaped = not shapes if pooling.keepdims else shapes in ([(1, 1, channels)], [(1, 1, -1)])
    if not (images and shaped and all(is_a(layer, keras.layers.Conv2D) for layer in (first, second))):
        return False
    hidden = first.filters
    return (
        all(layer.data_format == "channels_last" and layer.bias is not None for layer in (first, second))
        and hidden <= channels
        and tuple(first.kernel.shape) == (1, 1, channels, hidden)
        and tuple(second.kernel.shape) == (1, 1, hidden, channels)
        and are_usual(activated, first, second)
    )


def shape_of(layer: Any) -> Any:
    """The shape that Reshape gives each image; None for another layer."""
    return tuple(layer.target_shape) if is_a(layer, keras.layers.Reshape) else None
