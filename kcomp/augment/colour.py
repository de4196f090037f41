"""PCA colour: shift the colours of an image along the principal components of all pixels of a table."""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np

from kcomp.data.images import Images
from kcomp.data.tables import Table

Components = tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]


def colour_components(table: Table, *, count: int = 500) -> Components:
    """Return the principal components of the colours in a table, for `PCAColour`.

    Pass the whole table, so that all folds and the test images have the same components.

    Args:
        table: The images, with 3 channels.
        count: How many images are read, evenly spaced over the sorted ids, from 2. Each is reduced to 64 x 64 pixels.

    Returns:
        Two things: the variances of the three components, largest first, of pixels from 0 to 1; and the direction of
        each component, three tuples of red, green and blue with length 1.

    Raises:
        ValueError: If the table is empty, `count` is below 2, or an image cannot be read.

    Examples:
        >>> from kcomp import augment, data
        >>> variances, directions = augment.colour_components(data.sklearn_digits(), count=20)
        >>> [round(number, 3) for number in directions[0]]  # the digits are grey
        [0.577, 0.577, 0.577]
    """
    if not len(table) or count < 2:
        raise ValueError(f"colour_components needs images and a count from 2; received {len(table)} rows and {count}")
    images = Images(64, cache_bytes=0).with_range(table.value_range)
    rows = sorted(range(len(table)), key=table.ids.__getitem__)
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))
    total, products, pixels = np.zeros(3), np.zeros((3, 3)), 0
    for place in chosen:
        image = images.load(table.ids[rows[place]], table.images[rows[place]]).reshape(-1, 3) / 255.0
        total, products, pixels = total + image.sum(0), products + image.T @ image, pixels + len(image)
    mean = total / pixels
    variances, directions = np.linalg.eigh(products / pixels - np.outer(mean, mean))
    directions = directions.T[::-1] * np.where(directions.sum(0)[::-1, None] < 0, -1, 1)  # brighter is positive
    return tuple(np.maximum(variances[::-1], 0).tolist()), tuple(map(tuple, directions.tolist()))


class PCAColour(A.ImageOnlyTransform):
    """Shift the colour of each image along the principal components of a table.

    For pixels from 0 to 1, the shift is the sum over the components of variance * a * direction. The numbers a are
    drawn from a normal distribution for each image (Krizhevsky et al. 2012, ImageNet classification with deep
    convolutional neural networks, section 4.1). The transform works on uint8 images with 3 channels, and not on
    masks and boxes. Albumentations' FancyPCA uses the components of the single image instead.

    Args:
        variances: The variances of the components, as `colour_components` returns them.
        directions: The directions of the components.
        scale: Standard deviation of the numbers a, from 0.
        p: Probability that an image is changed, 0 to 1.

    Raises:
        ValueError: If the components have another shape, `scale` is below 0, or an image has another type.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment, data
        >>> transform = augment.PCAColour(*augment.colour_components(data.sklearn_digits(), count=20))
        >>> transform(image=np.zeros((32, 32, 3), np.uint8))["image"].shape
        (32, 32, 3)
    """

    def __init__(
        self,
        variances: Sequence[float],
        directions: Sequence[Sequence[float]],
        *,
        scale: float = 0.1,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        if np.shape(variances) != (3,) or np.shape(directions) != (3, 3) or scale < 0:
            raise ValueError(
                "PCAColour needs 3 variances, 3 directions of 3 numbers and a scale from 0; received shapes "
                f"{np.shape(variances)} and {np.shape(directions)}, scale {scale}"
            )
        self.variances, self.directions, self.scale = variances, directions, scale

    def get_params(self) -> dict[str, Any]:
        return {"amounts": self.random_generator.normal(0, self.scale, 3)}

    def apply(self, img: np.ndarray, amounts: np.ndarray, **params: Any) -> np.ndarray:
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise ValueError(f"PCAColour needs uint8 images with 3 channels; received {img.dtype} of shape {img.shape}")
        shift = 255 * (amounts * np.asarray(self.variances)) @ np.asarray(self.directions)
        levels = np.rint(np.arange(256)[:, None] + shift).clip(0, 255).astype(np.uint8)
        return cv2.LUT(img, levels[None])
