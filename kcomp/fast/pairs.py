"""Pairs of layers, one after the other, that fast ways take as one step."""

import dataclasses
from typing import Any

import keras

from kcomp.engine.graph import Step, sole_readers


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
