"""Compute the pixels of a view (a variant of an image for test-time augmentation) with NumPy and OpenCV."""

from collections.abc import Sequence

import numpy as np

from kcomp.data.batches import Batches, stack
from kcomp.data.resampling import resample
from kcomp.views import View


def check_square(views: Sequence[View], shape: tuple[int, ...]) -> None:
    """Raise ValueError if a view swaps rows and columns of images (height, width, channels) that are not square."""
    height, width = shape[:2]
    names = [view.name for view in views if view.transposed]
    if names and height != width:
        raise ValueError(
            f"a transposed view needs square images; the images have {height} x {width} pixels. Leave out the view "
            f"{names[0]!r}, such as with [plain, left_right, upside_down, half_turn] instead of symmetries()"
        )


def size_of(view: View, shape: tuple[int, ...]) -> tuple[int, int]:
    return max(1, round(shape[0] * view.scale)), max(1, round(shape[1] * view.scale))


def show(view: View, images: np.ndarray) -> np.ndarray:
    """Return the images as a view shows them, without random augmentation: an array of the same dtype.

    `images` has the shape (rows, height, width, channels).
    """
    height, width = size_of(view, images.shape[1:])
    images = cropped(view, images)
    if images.shape[1:3] != (height, width):
        how = "area" if height < images.shape[1] else "linear"  # OpenCV's "area" does not interpolate linearly
        images = np.stack([resample(image, height, width, how) for image in images])
    if view.transposed:
        images = images.transpose(0, 2, 1, 3)
    return np.ascontiguousarray(np.flip(images, tuple(axis + 1 for axis in view.flips)))


def cropped(view: View, images: np.ndarray) -> np.ndarray:
    sides = [max(1, round(view.share * side)) for side in images.shape[1:3]]
    starts = [
        round(place * (full - side)) for place, full, side in zip(view.position, images.shape[1:3], sides, strict=True)
    ]
    return images[:, starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]


def look(views: Sequence[View], batches: Batches, augmented: Batches | None, rows: np.ndarray) -> np.ndarray:
    """Return all views of the images in `rows`, an array (views * rows, height, width, channels) in 0..255.

    Args:
        views: Views with the same `scale`, so that all results have one size.
        batches: The table with the transform without augmentation.
        augmented: The table with the training transform, for views that augment at random.
        rows: Row numbers in the table.

    Raises:
        ValueError: If a view augments at random and `augmented` is None.
    """
    drawn: dict[int | None, np.ndarray] = {}
    for draw in dict.fromkeys(view.draw for view in views):
        if draw is None:
            drawn[draw] = stack([batches.image(int(row)) for row in rows])
        elif augmented is None:
            raise ValueError("random views need the training pipeline; pass `augmented`")
        else:
            drawn[draw] = stack([augmented.image(int(row), epoch=draw) for row in rows])
    return np.concatenate([show(view, drawn[view.draw]) for view in views])
