"""Divide a backbone into groups of blocks, whose outputs have one resolution."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kcomp.engine.graph import bottlenecks
from kcomp.models.classifier import pooled
from kcomp.models.depth import weight_depths
from kcomp.models.trainable import leaves
from kcomp.training.frozen.cut import NotCutError, has_weights, in_order

FEWEST_SIZES = 3  # resolutions; a transformer has one of its tokens, and perhaps one before them
QUARTERS = 4


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

    A group ends at the last tensor of its resolution that all paths through the network pass. If there are fewer than
    three resolutions, as in most transformers, the groups are the first layer and four groups of about equally many
    blocks. A network that cannot be divided is one group.
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
        axes = tuple(range(1, len(tensor.shape) - 1))
        last[next_depth(nodes[place + 1 :], depths)] = (nodes[place].operation.name, keras.ops.mean(tensor, axes))
    deepest = max(depths.values(), default=0)
    yield from ((name, features, depth) for depth, (name, features) in last.items() if 0 <= depth < deepest)
    yield backbone.layers[-1].name, pooled(backbone, None), -1


def last_of_each_size(
    maps: Sequence[tuple[int, Any]], depths: Mapping[int, int], nodes: Sequence[Any]
) -> list[tuple[int, Any]]:
    """Return the last tensor of each resolution, or of each quarter of the blocks if there are few resolutions.

    Args:
        maps: Pairs of the position of a layer call and its output.
        depths: The depth of each weight; see `weight_depths`.
        nodes: The layer calls of the network.
    """
    by_size = {tuple(tensor.shape[1:-1]): (place, tensor) for place, tensor in maps}
    if len(by_size) >= FEWEST_SIZES:
        return list(by_size.values())
    blocks = max(depths.values(), default=0) + 1
    by_quarter = {}
    for place, tensor in maps:
        by_quarter[(next_depth(nodes[place + 1 :], depths) + 1) * QUARTERS // max(1, blocks - 1)] = (place, tensor)
    return list(by_quarter.values())


def next_depth(nodes: Sequence[Any], depths: Mapping[int, int]) -> int:
    """Return the depth of the first block in these layer calls. -1 if they have no weights."""
    weights = (weight for node in nodes for weight in getattr(node.operation, "weights", ()))
    return max((depths.get(id(weight), 0) for weight in weights), default=-1)


def count(layer: keras.layers.Layer) -> int:
    """Return the number of weights of a layer that a stage trains. Batch normalisation stays frozen."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return 0
    return sum(math.prod(weight.shape) for weight in layer.weights)
