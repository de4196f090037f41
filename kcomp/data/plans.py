"""Draw the random numbers of layers that mix or erase images, such as MixUp, in NumPy.

A plan has all random numbers of one layer for one batch. Each array of a plan has one row for each image.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = Sequence[int]


class MixPlan(NamedTuple):
    """The random numbers of MixUp, CutMix or Switch for a batch of N images.

    An image does not change if its blend and weight are 1 and its box is empty. The class is a NamedTuple, because
    Keras and JAX pass tuples of arrays to layers and compiled functions.

    Attributes:
        partner: int32 (N,), the position in the batch of the image to mix with.
        blend: float32 (N,), the weight of the image's own pixels outside of the box, from 0 to 1.
        box: int32 (N, 4), the part to replace by the partner's pixels: top, bottom, left, right. Row `bottom` and
            column `right` are not replaced.
        weight: float32 (N,), the weight of the image's own label, from 0 to 1. The partner's label has the rest.
    """

    partner: Any
    blend: Any
    box: Any
    weight: Any


class ErasePlan(NamedTuple):
    """The random numbers of RandomErasing for a batch of N images.

    Attributes:
        box: int32 (N, 4), the part of each image to fill: top, bottom, left, right. Row `bottom` and column `right` are
            not filled.
        colour: float32 (N, 3), the RGB colour of the filled box, from 0 to 255.
    """

    box: Any
    colour: Any


def active(
    draws: np.random.Generator, count: int, probability: float, stop_epoch: int | None, epoch: int
) -> np.ndarray:
    """Draw which of `count` images a layer changes, bool (count,). Each image is changed with `probability`.

    From `stop_epoch` on, no image is changed. With None, images are changed in all epochs.
    """
    return (draws.random(count) < probability) & (stop_epoch is None or epoch < stop_epoch)


def partners(draws: np.random.Generator, count: int) -> np.ndarray:
    """Draw the image that each image of a batch is mixed with, int32 (count,).

    The result is a random permutation of the positions in the batch, so an image may be mixed with itself.
    """
    return draws.permutation(count).astype(np.int32)


def plan_of(
    partner: np.ndarray, *, weight: np.ndarray, blend: np.ndarray | None = None, box: np.ndarray | None = None
) -> MixPlan:
    count = len(partner)
    return MixPlan(
        partner,
        np.ones(count, np.float32) if blend is None else blend,
        np.zeros((count, 4), np.int32) if box is None else box,
        weight,
    )


def boxes_around(draws: np.random.Generator, shape: Shape, tall: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Draw boxes around random points of the images. `shape` is (N, height, width).

    `tall` and `wide` are the heights and the widths of the boxes, shape (N,). The centres are uniform over the image,
    and parts outside of the image are cut off. Return int32 (N, 4): top, bottom, left, right.
    """
    count, height, width = shape
    row, column = draws.integers(0, height, count), draws.integers(0, width, count)
    top, left = row - tall // 2, column - wide // 2
    edges = [top, top + tall, left, left + wide]
    return np.stack(
        [np.clip(edge, 0, size) for edge, size in zip(edges, (height, height, width, width), strict=True)], 1
    ).astype(np.int32)


def area(box: np.ndarray) -> np.ndarray:
    return (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])


def beta(draws: np.random.Generator, alpha: float, count: int) -> np.ndarray:
    """Draw `count` numbers from Beta(alpha, alpha). If alpha is 0, return ones, so that no image changes."""
    return draws.beta(alpha, alpha, count) if alpha else np.ones(count)
