"""List the layers of a network, and how many weights of each layer every stage (part of a training) trains."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kcomp.models.depth import weight_depths
from kcomp.models.trainable import leaves, set_trainable
from kcomp.recipe import Stage


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network, as a row of a table.

    Attributes:
        path: The name of the layer, or "inner/layer" in an inner model. `Stage(train=...)` takes such paths.
        kind: The name of the layer's class.
        shape: The shape of the output without the batch axis. Empty if it is unknown, or if there are several outputs.
        weights: How many weights the layer has.
        trained: How many weights of the layer each stage (part of a training) trains.
        depths: How many blocks are between the layer's weights and the output, in ascending order. One layer may
            contain several blocks. See `kcomp.models.depth`.
    """

    path: str
    kind: str
    shape: tuple[int | None, ...]
    weights: int
    trained: tuple[int, ...]
    depths: tuple[int, ...]


def layer_rows(network: keras.Model, stages: Sequence[Stage]) -> list[LayerRow]:
    """Return a row for each layer, in the order of the network.

    Args:
        network: The network. Afterwards, its layers are trainable or frozen as in the last stage.
        stages: The stages of the recipe.

    Raises:
        ValueError: If a stage trains no layer.
    """
    layers = list(leaves(network))
    counts = []
    for stage in stages:
        set_trainable(network, stage.train, train_batch_norm=stage.train_batch_norm)
        counts.append([count(layer.trainable_weights) for _, layer in layers])
    depths = weight_depths(network)
    return [
        LayerRow(
            path, type(layer).__name__, output_shape(layer), count(layer.weights), trained, depths_in(layer, depths)
        )
        for (path, layer), trained in zip(layers, zip(*counts, strict=True), strict=True)
    ]


def depths_in(layer: keras.layers.Layer, depths: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(sorted({depths[id(weight)] for weight in layer.weights if id(weight) in depths}))


def count(weights: Sequence[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def output_shape(layer: keras.layers.Layer) -> tuple[int | None, ...]:
    try:
        output = layer.output
    except (AttributeError, ValueError):  # a layer that is not part of a functional network
        return ()
    return tuple(output.shape[1:]) if hasattr(output, "shape") else ()
