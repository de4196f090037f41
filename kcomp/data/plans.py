"""Draw the random numbers of layers that mix or erase images, such as MixUp, in NumPy.

A *plan* has all random numbers of one layer for one batch. Each array of a plan has one row for each image.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = Sequence[int]


class MixPlan(NamedTuple):
    """The random numbers of MixUp, CutMix or Switch for a batch of N images.

    Attributes:
        partner: int32 (N,), the position in the batch of the image to mix with.
        blend: float32 (N,), the weight of the image's own pixels outside of the box, from 0 to 1.
        box: int32 (N, 4), the part to replace by the partner's pixels: top, bottom (excluded), left, right (excluded).
        weight: float32 (N,), the weight of the image's own label, from 0 to 1. The partner's label has the weight 1 -
            weight.
    """

    partner: Any
    blend: Any
    box: Any
    weight: Any


class ErasePlan(NamedTuple):
    """The random numbers of RandomErasing for a batch of N images.

    Attributes:
        box: int32 (N, 4), the part of each image to fill: top, bottom (excluded), left, right (excluded).
        colour: float32 (N, 3), the RGB colour of the filled box, from 0 to 255.
    """

    box: Any
    colour: Any


class MosaicPlan(NamedTuple):
    """The random numbers of Mosaic for a batch of N images.

    Attributes:
        partners: int32 (N, 3), the positions in the batch of the images at the top right, bottom left and bottom right.
        corner: int32 (N, 2), the row and the column at which the four parts meet. An image does not change if they are
            the image's height and width.
        weights: float32 (N, 4), the share of each part in the area: top left, top right, bottom left, bottom right.
    """

    partners: Any
    corner: Any
    weights: Any


def active(
    draws: np.random.Generator, count: int, probability: float, stop_epoch: int | None, epoch: int
) -> np.ndarray:
    """Draw which of `count` images a layer changes, bool (count,). Each image is changed with `probability`.

    From `stop_epoch` on, no image is changed. None means no such epoch.
    """
    return (draws.random(count) < probability) & (stop_epoch is None or epoch < stop_epoch)


def partners(draws: np.random.Generator, count: int) -> np.ndarray:
    """Draw the image that each image of a batch is mixed with, int32 (count,): a random permutation."""
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
    """Draw boxes around random points of the images. Return int32 (N, 4): top, bottom, left, right.

    Args:
        draws: The random generator.
        shape: (N, height, width).
        tall: The height of each box, (N,).
        wide: The width of each box, (N,). Parts outside of the image are cut off.
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
    """Draw `count` numbers from Beta(alpha, alpha). If alpha is 0, return ones."""
    return draws.beta(alpha, alpha, count) if alpha else np.ones(count)
