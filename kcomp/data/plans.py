"""Plans: the random choices of layers that mix or erase images, drawn on the host. A plan has one row per sample."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = Sequence[int]


class MixPlan(NamedTuple):
    """The random choices of MixUp, CutMix or Switch for a batch of N samples. Keras and JAX pass them as a tuple.

    A sample does not change if its blend and weight are 1 and its box is empty.

    Attributes:
        partner: int32 (N,), the row that each sample is mixed with.
        blend: float32 (N,), the share of the sample's own pixels outside of the box, from 0 to 1.
        box: int32 (N, 4), the part pasted from the partner: top, bottom, left, right, with exclusive ends.
        weight: float32 (N,), the share of the sample's own label, from 0 to 1.
    """

    partner: Any
    blend: Any
    box: Any
    weight: Any


class ErasePlan(NamedTuple):
    """The random choices of RandomErasing for a batch of N images.

    Attributes:
        box: int32 (N, 4), the part to fill: top, bottom, left, right, with exclusive ends.
        colour: float32 (N, 3), the colour to fill it with, from 0 to 255.
    """

    box: Any
    colour: Any


def active(
    draws: np.random.Generator, count: int, probability: float, stop_epoch: int | None, epoch: int
) -> np.ndarray:
    """Draw which samples are mixed, bool (N,)."""
    return (draws.random(count) < probability) & (stop_epoch is None or epoch < stop_epoch)


def partners(draws: np.random.Generator, count: int) -> np.ndarray:
    """Draw the partner of each sample. Partners are a permutation, so a sample may be its own partner."""
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
    """Draw boxes of the heights `tall` and the widths `wide`, int32 (N, 4), clipped at the border of the image.

    Their centres are uniform over the image.
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
    """Draw `count` numbers from Beta(alpha, alpha). If alpha is 0, return ones, so that no sample changes."""
    return draws.beta(alpha, alpha, count) if alpha else np.ones(count)
