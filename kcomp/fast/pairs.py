"""Find pairs of successive layers in a network, and join each pair into one layer call."""

import dataclasses
from typing import Any

import keras

from kcomp.engine.graph import LayerCall, sole_readers


class Pair:
    """Two layers called like one. Only the second layer reads the output of the first."""

    def __init__(self, first: Any, second: Any) -> None:
        self.layers = [first, second]

    def call(self, inputs: Any) -> Any:
        first, second = self.layers
        return second.call(first.call(inputs))


class NormalisedSilu(Pair):
    """A batch normalisation layer, then a silu activation layer, called like one layer."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        normalisation, activation = self.layers
        return activation.call(normalisation.call(inputs, training=training))


class PaddedConvolution(Pair):
    """A zero padding layer, then a convolution layer without padding, called like one layer."""


def join_pairs(steps: list[LayerCall], result: int) -> list[LayerCall]:
    """Return a network's list of layer calls, in which one call replaces each supported pair of layers.

    Supported pairs are batch normalisation with silu, and zero padding with a convolution. `result` is the number of
    the network's output tensor.
    """
    reader_of, joined, skipped = sole_readers(steps, result), [], set()
    for number, step in enumerate(steps):
        if number in skipped:
            continue
        after = reader_of.get(number)
        pair = None if after is None else pair_of(step, steps[after])
        if after is not None and pair is not None:
            step = dataclasses.replace(step, operation=pair, outputs=steps[after].outputs)
            skipped.add(after)
        joined.append(step)
    return joined


def pair_of(first: LayerCall, second: LayerCall) -> Pair | None:
    """Return the layers of two successive calls as a NormalisedSilu or a PaddedConvolution, or None if neither."""
    if not all(step.direct and step.source is not None for step in (first, second)):
        return None
    layer, after = first.operation, second.operation
    if is_a(layer, keras.layers.BatchNormalization) and is_a(after, keras.layers.Activation):
        return NormalisedSilu(layer, after) if after.activation is keras.activations.silu else None
    pads = is_a(layer, keras.layers.ZeroPadding2D) and layer.data_format == "channels_last"
    convolves = is_a(after, keras.layers.Conv2D, keras.layers.DepthwiseConv2D) and after.padding == "valid"
    return PaddedConvolution(layer, after) if pads and convolves else None


def is_a(layer: Any, *classes: Any) -> bool:
    """Return whether a layer's class is one of `classes`. Subclasses do not count."""
    return type(layer) in classes
