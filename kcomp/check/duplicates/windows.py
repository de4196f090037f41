"""Compare small copies of images: is one a rotated, mirrored or cropped copy of the other?"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

SMALL = 32  # side of the small copies
WINDOW = 12  # a window is resized to this side
STEP = 0.05  # the windows have these steps of place and size, as shares of the side of the image
SCALES = tuple(1 - STEP * step for step in range(7))  # sides of the windows
FLAT = 1.5  # standard deviation in grey values, below which a window is flat and resembles nothing
OUTER_BLOCK, PAIR_BLOCK = 8, 64  # images, and pairs, that are compared at a time


@dataclass(frozen=True)
class Placement:
    """Where an image (the inner one) lies in another image (the outer one).

    Attributes:
        correlation: Pearson's correlation between the inner image and this part of the outer image, in small copies.
        scale: The side of the inner image, as a share of the side of the outer image.
        left: Distance of the inner image from the left edge of the outer image, as a share of the outer side.
        top: Distance of the inner image from the upper edge of the outer image, as a share of the outer side.
        turn: How the inner image is rotated or mirrored: a number for `turn_image`.
        is_swapped: Whether the second image of the pair is the outer one.
    """

    correlation: float
    scale: float = 1.0
    left: float = 0.0
    top: float = 0.0
    turn: int = 0
    is_swapped: bool = False


def turn_image(pixels: np.ndarray, number: int) -> np.ndarray:
    """Return one of the 8 rotations and mirror images of a square image. Number 0 is the image itself."""
    if number & 4:
        pixels = pixels.swapaxes(0, 1)
    if number & 1:
        pixels = pixels[::-1]
    if number & 2:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def starts_of(scale: float) -> np.ndarray:
    """Return the positions along one side of an image at which windows begin, as shares of this side.

    `scale` is the side of a window, as a share of the side of the image.
    """
    return np.arange(round((1 - scale) / STEP) + 1) * STEP


# Scale, left and top of each window, in the order of `windows`.
PLACES = np.array([(scale, left, top) for scale in SCALES for top in starts_of(scale) for left in starts_of(scale)])


def windows(small: np.ndarray) -> np.ndarray:
    """Return the windows (square cut-outs) of small images, each with mean 0 and Euclidean norm 1. Flat windows are 0.

    Args:
        small: Grey values, uint8 (images, SMALL, SMALL).

    Returns:
        float32 (images, windows, WINDOW * WINDOW).
    """
    pixels = small.astype(np.float32)
    parts = []
    for scale in SCALES:
        starts = starts_of(scale)
        shrink = np.concatenate([resize_matrix(start, scale) for start in starts])  # (starts * WINDOW, SMALL)
        cells = np.tensordot(np.tensordot(pixels, shrink, (1, 1)), shrink, (1, 1))  # (images, top and y, left and x)
        cells = cells.reshape(len(small), len(starts), WINDOW, len(starts), WINDOW).swapaxes(2, 3)
        parts.append(cells.reshape(len(small), -1, WINDOW * WINDOW))
    return normalised(np.concatenate(parts, 1))


def resize_matrix(start: float, scale: float) -> np.ndarray:
    """Return a matrix (WINDOW, SMALL) that resizes a part of an image's side to WINDOW pixels by averaging.

    The part begins at `start` and is `scale` long, both as shares of the side.
    """
    edges = (start + scale * np.arange(WINDOW + 1) / WINDOW) * SMALL
    pixels = np.arange(SMALL)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(overlap, 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def normalised(values: np.ndarray) -> np.ndarray:
    values = values - values.mean(-1, keepdims=True)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(length > FLAT * WINDOW, values / np.maximum(length, 1e-9), 0)


def whole_images(small: np.ndarray, turns: tuple[int, ...] = tuple(range(8))) -> np.ndarray:
    """Return rotated copies of small images, float32 (images, turns, WINDOW * WINDOW), normalised as in `windows`.

    `turns` has numbers for `turn_image`.
    """
    size = (WINDOW, WINDOW)
    values = [
        [cv2.resize(turn_image(image, turn), size, interpolation=cv2.INTER_AREA).astype(np.float32) for turn in turns]
        for image in small
    ]
    return normalised(np.array(values, np.float32).reshape(len(small), len(turns), -1))


def place_pairs(small: np.ndarray, pairs: np.ndarray) -> Iterator[Placement]:
    """Yield, for each pair, the placement of one image in the other with the highest correlation.

    Args:
        small: Grey values, uint8 (images, SMALL, SMALL).
        pairs: Positions in `small`, int (pairs, 2).
    """
    for start in range(0, len(pairs), PAIR_BLOCK):
        first, second = pairs[start : start + PAIR_BLOCK].T
        inner_second = np.matmul(windows(small[first]), whole_images(small[second]).swapaxes(1, 2))
        inner_first = np.matmul(windows(small[second]), whole_images(small[first]).swapaxes(1, 2))
        for plain, swapped in zip(inner_second, inner_first, strict=True):
            is_swapped = bool(swapped.max() > plain.max() + 1e-3)
            yield best_placement(swapped if is_swapped else plain, is_swapped)


def best_placement(correlations: np.ndarray, is_swapped: bool) -> Placement:
    window, turn = np.unravel_index(correlations.argmax(), correlations.shape)
    scale, left, top = PLACES[window].tolist()
    return Placement(float(correlations[window, turn]), scale, left, top, int(turn), is_swapped)


def window_pairs(small: np.ndarray, least: float, most: int) -> np.ndarray:
    """Return pairs of images in which one whole image resembles a window of the other, int (pairs, 2).

    The most similar pairs come first. The whole image may be mirrored from left to right. The time grows with the
    square of the number of images.

    Args:
        small: Grey values, uint8 (images, SMALL, SMALL).
        least: The smallest correlation of a pair.
        most: The largest number of pairs to return.
    """
    whole = whole_images(small, (0, 2)).reshape(-1, WINDOW * WINDOW).T
    table = np.zeros((len(small), len(small)), np.float32)
    for start in range(0, len(small), OUTER_BLOCK):
        block = windows(small[start : start + OUTER_BLOCK])
        values = (block.reshape(-1, WINDOW * WINDOW) @ whole).reshape(len(block), len(PLACES), len(small), 2)
        table[start : start + OUTER_BLOCK] = values.max((1, 3))
    table = np.triu(np.maximum(table, table.T), 1)
    first, second = np.nonzero(table >= least)
    order = np.argsort(-table[first, second], kind="stable")[:most]
    return np.stack([first, second], 1)[order]
