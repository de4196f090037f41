"""The size of an image: one number for a square, or height and width."""

from collections.abc import Sequence
from typing import Any

ImageSize = int | tuple[int, int]


def height_and_width(size: Any) -> tuple[int, int]:
    """Return height and width in pixels. Raise ValueError unless `size` is one or two whole numbers from 1."""
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise ValueError(f"an image size is a number of pixels from 1, or (height, width); received {size!r}")
    return sides
