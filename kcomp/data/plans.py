"""Plans of the layers that mix batches: small arrays, drawn on the host with one row per sample."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Shape = Sequence[int]


class MixPlan(NamedTuple):
    """What MixUp, CutMix and Switch do to a batch of N samples. Keras and JAX pass it to a step as a tuple.

    A blend and a weight of 1 with an empty box leave a sample unchanged.

    Attributes:
        partner: int32 (N,), the row that each sample is mixed with.
        blend: float32 (N,), the share of its own pixels outside of the box, from 0 to 1.
        box: int32 (N, 4), the part pasted from the partner: top, bottom, left, right, with exclusive ends.
        weight: float32 (N,), the share of its own label, from 0 to 1.
    """

    partner: Any
    blend: Any
    box: Any
    weight: Any


class ErasePlan(NamedTuple):
    """What RandomErasing does to a batch of N images.

    Attributes:
        box: int32 (N, 4), the part that is filled: top, bottom, left, right, with exclusive ends.
        colour: float32 (N, 3), its colour, from 0 to 255.
    """

    box: Any
    colour: Any


def active(
    draws: np.random.Generator, count: int, probability: float, stop_epoch: int | None, epoch: int
) -> np.ndarray:
    """Draw which samples are mixed, bool (N,)."""
    return (draws.random(count) < probability) & (stop_epoch is None or epoch < stop_epoch)


def partners(draws: np.random.Generator, count: int) -> np.ndarray:
    """Draw a permutation: each sample is a partner once, possibly its own."""
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
    """Draw boxes of these sizes around uniform centres, clipped at the border, int32 (N, 4)."""
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
    """Draw `count` numbers from Beta(alpha, alpha); ones, which mix nothing, if alpha is 0."""
    return draws.beta(alpha, alpha, count) if alpha else np.ones(count)
