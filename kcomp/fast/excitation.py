"""Squeeze and excitation (Hu et al. 2018), with batch normalisation and silu before it, as one step."""

import dataclasses
from typing import Any

import keras

from kcomp.engine.graph import LayerCall, readers_of
from kcomp.fast.pairs import NormalisedSilu, is_a


class Excitation:
    """Batch normalisation and silu, then squeeze and excitation.

    activated: the pair of normalisation and silu.
    gate:      the layers from pooling to the second convolution, which ends in a sigmoid.
    merge:     the Multiply of the activations and the gate.
    """

    def __init__(self, activated: NormalisedSilu, gate: list[Any], merge: Any) -> None:
        self.activated, self.gate, self.merge = activated, gate, merge
        *_, self.first, self.second = gate

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.gated(self.activated.call(inputs, training=training))

    def gated(self, values: Any) -> Any:
        """Return the product of the activations and their gate."""
        gate = values
        for layer in self.gate:
            gate = layer.call(gate)
        return self.merge.call([values, gate])

    @property
    def usual(self) -> bool:
        """Whether the three activations are, in order, silu, silu and sigmoid. The user may change them."""
        return are_usual(self.activated, self.first, self.second)


def are_usual(activated: NormalisedSilu, first: Any, second: Any) -> bool:
    """Return whether the three activations are, in order, silu, silu and sigmoid."""
    activations = activated.layers[1].activation, first.activation, second.activation
    return activations == (keras.activations.silu, keras.activations.silu, keras.activations.sigmoid)


def excited(steps: list[LayerCall]) -> list[LayerCall]:
    """Return the steps, with the layers of each squeeze and excitation joined into one step."""
    readers, joined, taken = readers_of(steps), [], set()
    for number, step in enumerate(steps):
        if number in taken:
            continue
        chain = chain_after(step, steps, readers) if is_a(step.operation, NormalisedSilu) else []
        layers = [steps[place].operation for place in chain]
        if len(chain) > 3 and is_usual(step.operation, layers):
            operation = Excitation(step.operation, layers[:-1], layers[-1])
            step = dataclasses.replace(step, operation=operation, outputs=steps[chain[-1]].outputs)
            taken |= set(chain)
        joined.append(step)
    return joined


def chain_after(start: LayerCall, steps: list[LayerCall], readers: dict[int, list[int]]) -> list[int]:
    """Return the numbers of the steps from the pooling of a step's output to the product of that output and its gate.

    Return an empty list if another step reads that output, or if more than one step reads a value of the gate.
    """
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
    """Return whether the layers from pooling to product are squeeze and excitation as in EfficientNet."""
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
    """Return the shape that a Reshape gives each image; None for another layer."""
    return tuple(layer.target_shape) if is_a(layer, keras.layers.Reshape) else None
