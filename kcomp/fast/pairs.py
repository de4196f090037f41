"""Pairs of successive layers that run as one step."""

import dataclasses
from typing import Any

import keras

from kcomp.engine.graph import LayerCall, sole_readers


class Pair:
    """A layer and the only layer that reads its output. A patch of kcomp.fast.patches may replace `call`."""

    def __init__(self, first: Any, second: Any) -> None:
        self.layers = [first, second]

    def call(self, inputs: Any) -> Any:
        first, second = self.layers
        return second.call(first.call(inputs))


class NormalisedSilu(Pair):
    """Batch normalisation, then silu."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        normalisation, activation = self.layers
        return activation.call(normalisation.call(inputs, training=training))


class PaddedConvolution(Pair):
    """Zero padding, then a convolution without padding."""


def join_pairs(steps: list[LayerCall], result: int) -> list[LayerCall]:
    """Return the calls of a network's layers, with each pair of this module joined into one call.

    result: the slot of the network's output.
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
    """Return the two layers as a NormalisedSilu or a PaddedConvolution, or None if they are neither."""
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
