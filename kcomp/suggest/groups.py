"""Divide a backbone into groups of blocks, whose outputs have one resolution."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kcomp.engine.graph import bottlenecks
from kcomp.models.classifier import pooled
from kcomp.models.depth import weight_depths
from kcomp.models.trainable import leaves
from kcomp.training.frozen.cut import NotCutError, has_weights, in_order

TOKEN_GROUPS = 4  # of a network whose outputs all have one resolution


@dataclass(frozen=True)
class BlockGroup:
    """Successive blocks of a backbone.

    Attributes:
        end: The name of the layer that computes the features of the group.
        features: The outputs of this layer, averaged over positions in the image: a Keras tensor (batch, channels).
        layers: The paths of the layers with weights.
        weights: How many weights training changes, without those of batch normalisation.
    """

    end: str
    features: Any
    layers: tuple[str, ...]
    weights: int


def divide(backbone: keras.Model) -> list[BlockGroup]:
    """Return the groups of a backbone, the first layers first.

    A group ends at the last tensor of its resolution that all paths through the network pass. If all tensors have one
    resolution, as in most transformers, each of four groups has equally many blocks. A network that cannot be divided
    is one group.
    """
    ends = list(ends_of(backbone))
    depths = weight_depths(backbone)
    paths = [(path, layer, depths.get(id(layer.weights[0]), 0)) for path, layer in leaves(backbone) if layer.weights]
    groups, start = [], None
    for name, features, depth in ends:
        chosen = [(path, layer) for path, layer, own in paths if own > depth and (start is None or own <= start)]
        groups.append(
            BlockGroup(name, features, tuple(path for path, _ in chosen), sum(map(count, dict(chosen).values())))
        )
        start = depth
    return groups


def ends_of(backbone: keras.Model) -> Iterator[tuple[str, Any, int]]:
    """Yield (name, pooled features, depth) for each end of a group. Layers of a greater depth come before the end.

    A block that an end divides belongs to the next group.
    """
    try:
        nodes = in_order(backbone)
    except NotCutError:
        nodes = []
    depths = weight_depths(backbone)
    first = next((place for place, node in enumerate(nodes) if has_weights(node.operation)), len(nodes))
    maps = [each for each in bottlenecks(nodes, backbone.outputs) if each[0] >= first and len(each[1].shape) in (3, 4)]
    last: dict[int, tuple[str, Any]] = {}  # by the depth of the first block after the tensor
    for place, tensor in last_of_each_size(maps, depths, nodes):
        after = [depths.get(id(weight), 0) for node in nodes[place + 1 :] for weight in node.operation.weights]
        if after:
            axes = tuple(range(1, len(tensor.shape) - 1))
            last[max(after)] = (nodes[place].operation.name, keras.ops.mean(tensor, axes))
    deepest = max(depths.values(), default=0)
    yield from ((name, features, depth) for depth, (name, features) in last.items() if depth < deepest)
    yield backbone.layers[-1].name, pooled(backbone, None), -1


def last_of_each_size(maps: Sequence[tuple[int, Any]], depths: dict[int, int], nodes: Sequence[Any]) -> list[Any]:
    """Return the last tensor of each resolution, or of each quarter of the blocks if there is only one resolution.

    Args:
        maps: Pairs of the position of a layer call and its output.
        depths: The depth of each weight; see `weight_depths`.
        nodes: The layer calls of the network.
    """
    by_size = {tuple(tensor.shape[1:-1]): (place, tensor) for place, tensor in maps}
    if len(by_size) > 1:
        return list(by_size.values())
    blocks = max(depths.values(), default=0) + 1
    by_quarter = {}
    for place, tensor in maps:
        after = [depths.get(id(weight), 0) for node in nodes[place + 1 :] for weight in node.operation.weights]
        by_quarter[(max(after, default=-1) + 1) * TOKEN_GROUPS // (blocks + 1)] = (place, tensor)
    return list(by_quarter.values())


def count(layer: keras.layers.Layer) -> int:
    """Return the number of weights of a layer that a stage trains. Batch normalisation stays frozen."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return 0
    return sum(math.prod(weight.shape) for weight in layer.weights)
