"""List the layers of a network, with the weights that each stage trains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kcomp.models.trainable import leaves, set_trainable
from kcomp.recipe import Stage


@dataclass(frozen=True)
class LayerRow:
    """A layer of a network.

    Attributes:
        path: The path of the layer, as `Stage(train=...)` uses it.
        kind: The name of its class.
        shape: The shape of its output without the batch axis. Empty if it is unknown or if there are several outputs.
        weights: Number of its weights.
        trained: Number of weights that each stage trains.
    """

    path: str
    kind: str
    shape: tuple[int | None, ...]
    weights: int
    trained: tuple[int, ...]


def layer_rows(network: keras.Model, stages: Sequence[Stage]) -> list[LayerRow]:
    """Return the layers in the order of the network, with the weights that each stage trains.

    Args:
        network: The network. The function changes which layers are trainable, and leaves them as in the last stage.
        stages: The stages of the recipe.

    Raises:
        ValueError: If a stage trains no layer.
    """
    layers = list(leaves(network))
    counts = []
    for stage in stages:
        set_trainable(network, stage.train, train_batch_norm=stage.train_batch_norm)
        counts.append([count(layer.trainable_weights) for _, layer in layers])
    return [
        LayerRow(path, type(layer).__name__, output_shape(layer), count(layer.weights), trained)
        for (path, layer), trained in zip(layers, zip(*counts, strict=True), strict=True)
    ]


def count(weights: Sequence[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def output_shape(layer: keras.layers.Layer) -> tuple[int | None, ...]:
    try:
        output = layer.output
    except (AttributeError, ValueError):  # a layer that is not part of a functional network
        return ()
    return tuple(output.shape[1:]) if hasattr(output, "shape") else ()
