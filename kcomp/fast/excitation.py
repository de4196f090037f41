"""Find squeeze and excitation (Hu et al. 2018) in a network, and join its layers into one layer call."""

import dataclasses
from typing import Any

import keras

from kcomp.engine.graph import LayerCall, readers_of
from kcomp.fast.pairs import NormalisedSilu, is_a


class Excitation:
    """Batch normalisation, silu, then squeeze and excitation, called like one layer.

    activated: the batch normalisation and silu.
    gate:      the layers from pooling to the second convolution. They compute a factor from 0 to 1 for each channel.
    merge:     the Multiply layer.
    """

    def __init__(self, activated: NormalisedSilu, gate: list[Any], merge: Any) -> None:
        self.activated, self.gate, self.merge = activated, gate, merge
        *_, self.first, self.second = gate

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.gated(self.activated.call(inputs, training=training))

    def gated(self, values: Any) -> Any:
        """Return the output of squeeze and excitation for `values`, the output of the first silu."""
        gate = values
        for layer in self.gate:
            gate = layer.call(gate)
        return self.merge.call([values, gate])

    @property
    def has_usual_activations(self) -> bool:
        """Whether the three activations are silu, silu and sigmoid.

        They are read at each call, because a user can change the activations of a layer.
        """
        return have_usual_activations(self.activated, self.first, self.second)


def have_usual_activations(activated: NormalisedSilu, first: Any, second: Any) -> bool:
    """Return whether the activations in squeeze and excitation are silu, silu and sigmoid, in this order.

    activated:     the batch normalisation and its activation.
    first, second: the two convolutions with their activations.
    """
    activations = activated.layers[1].activation, first.activation, second.activation
    return activations == (keras.activations.silu, keras.activations.silu, keras.activations.sigmoid)


def join_excitations(steps: list[LayerCall]) -> list[LayerCall]:
    """Return a network's list of layer calls, in which one call replaces each squeeze and excitation.

    The new call includes the batch normalisation and silu before it. `kcomp.fast.pairs.join_pairs` must have joined
    these two first.
    """
    readers, joined, skipped = readers_of(steps), [], set()
    for number, step in enumerate(steps):
        if number in skipped:
            continue
        chain = chain_after(step, steps, readers) if is_a(step.operation, NormalisedSilu) else []
        layers = [steps[place].operation for place in chain]
        if len(chain) > 3 and is_usual(step.operation, layers):
            operation = Excitation(step.operation, layers[:-1], layers[-1])
            step = dataclasses.replace(step, operation=operation, outputs=steps[chain[-1]].outputs)
            skipped |= set(chain)
        joined.append(step)
    return joined


def chain_after(start: LayerCall, steps: list[LayerCall], readers: dict[int, list[int]]) -> list[int]:
    """Return the positions in `steps` of the calls of one squeeze and excitation, from pooling to Multiply.

    Return an empty list if no squeeze and excitation follows `start`, or if another call reads a value inside it.

    start:   the call before the pooling.
    readers: for each slot (the number of a tensor), the positions of the calls that read it.
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
    """Return whether `layers`, from pooling to Multiply, are squeeze and excitation as in EfficientNet.

    activated: the batch normalisation and silu before `layers`.
    """
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
        and have_usual_activations(activated, first, second)
    )


def shape_of(layer: Any) -> Any:
    """Return the target shape of a Reshape layer, without the batch axis. None for another layer."""
    return tuple(layer.target_shape) if is_a(layer, keras.layers.Reshape) else None
