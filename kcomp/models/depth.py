"""Divide the weights of a network into blocks, and count the blocks between each weight and the output."""

import re
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import keras

from kcomp.engine.graph import bottlenecks, nodes_of

HEAD = re.compile(r"head(_.*)?")
# a part of a weight's path such as block2a, stages_0_blocks_1 or stage_1/block_0
NUMBER = r"(block|cell|mixed|expanded_conv)_?\d+[a-z]?|(blocks|layers?|stages)_?\d+(_\d+)?"
BLOCK = re.compile(rf"(^|(?<=/))(stages?_?\d+/)*[^/]*({NUMBER})(?=[_/]|$)", re.IGNORECASE)


class Place(NamedTuple):
    """Where a weight is in a network.

    Attributes:
        weight: The weight.
        in_head: Whether it belongs to the head.
        segment: The number of the weight's segment. Tensors that all paths through the network pass separate the
            segments. A weight of an inner model has one number for each level of nesting.
    """

    weight: Any
    in_head: bool
    segment: tuple[int, ...]


def weight_depths(network: keras.Model) -> dict[int, int]:
    """Return {id of a weight: its depth}: how many blocks are between a weight and the output of a network.

    The head is the last block, and has the depth 0. It consists of the layers, or the inner model, whose name is "head"
    or starts with "head_". Other blocks come from names of weights, such as block2a or stages_0_blocks_1. The weights
    between two such blocks are a block too. If no name has a block number, each segment between two tensors that all
    paths through the network pass is a block. Weights without a matrix, such as those of normalisation, belong to
    the block before them.

    Args:
        network: A functional model or a Sequential. An inner model of another kind is divided by names only.

    Examples:
        >>> from kcomp import models
        >>> from kcomp.models.depth import weight_depths
        >>> network = models.classifier(models.efficientnet_lite0(32, weights=None), 2)
        >>> depths = weight_depths(network)
        >>> names = ("head", "top_conv", "block7a_dwconv", "block1a_dwconv", "stem_conv")
        >>> [depths[id(network.get_layer(name).weights[0])] for name in names]
        [0, 1, 2, 17, 18]
    """
    places = list({id(place.weight): place for place in places_of(network)}.values())  # a layer may be called twice
    keys = block_keys(places)
    with_matrix = {key for key, place in zip(keys, places, strict=True) if len(place.weight.shape) > 1}
    numbers: dict[Hashable, int] = {}
    number = 0
    depths = {}
    for key, place in zip(keys, places, strict=True):
        if key in with_matrix or not numbers:
            number = numbers.setdefault(key, len(numbers))
        depths[id(place.weight)] = number
    return {weight: len(numbers) - 1 - number for weight, number in depths.items()}


def places_of(model: Any, in_head: bool = False, segment: tuple[int, ...] = ()) -> Iterator[Place]:
    """Yield the place of each weight of a model, in the order in which the model uses them.

    in_head, segment: those of the model itself, if it is an inner model.
    """
    nodes = nodes_of(model)
    if nodes is None:
        yield from (Place(weight, in_head, segment) for weight in model.weights)
        return
    ends = {place for place, _ in bottlenecks(nodes, model.outputs)}
    number = 0
    for place, node in enumerate(nodes):
        operation = node.operation
        inside = in_head or (not segment and HEAD.fullmatch(operation.name) is not None)
        if isinstance(operation, keras.Model):
            yield from places_of(operation, inside, (*segment, number))
        else:
            weights = getattr(operation, "weights", ())
            yield from (Place(weight, inside, (*segment, number)) for weight in weights)
        number += place in ends


def block_keys(places: list[Place]) -> list[Hashable]:
    """Return a key for each weight. Weights of one block have equal keys."""
    names = [BLOCK.search(place.weight.path) for place in places]
    is_named = any(names)
    keys: list[Hashable] = []
    last = ""
    for place, name in zip(places, names, strict=True):
        if place.in_head:
            keys.append("head")
        elif name:
            keys.append(last := name[0])
        else:
            keys.append(("after", last) if is_named else place.segment)
    return keys
