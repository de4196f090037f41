"""Local warping: move regions of an image by small random amounts."""

from typing import Any

import albumentations as A
import cv2
import numpy as np


class LocalWarp(A.ImageOnlyTransform):
    """Move regions of each image by small random amounts.

    A grid of points lies over the image. Each point moves by a random amount, and the pixels between the points move
    by interpolation. The effect is that of albumentations' PiecewiseAffine, which computes each pixel in Python and is
    therefore slow.

    The transform works on images with up to 4 channels, and not on masks and boxes.

    Args:
        scale: Standard deviation of the movement of a point, as a share of the image's side, from 0 to 0.2.
        grid: How many points the grid has along a side, 2 to 32.
        p: Probability that an image is changed, 0 to 1.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> transform = augment.LocalWarp(0.03, p=1.0)
        >>> transform(image=np.zeros((32, 48, 3), np.uint8))["image"].shape
        (32, 48, 3)
    """

    def __init__(self, scale: float = 0.03, *, grid: int = 4, p: float = 0.5) -> None:
        super().__init__(p=p)
        if not 0 <= scale <= 0.2 or not 2 <= grid <= 32:
            raise ValueError(
                f"LocalWarp needs a scale from 0 to 0.2 and a grid from 2 to 32; received {scale} and {grid}"
            )
        self.scale, self.grid = scale, grid

    def get_params(self) -> dict[str, Any]:
        return {"moves": self.random_generator.normal(0, self.scale, (self.grid, self.grid, 2)).astype(np.float32)}

    def apply(self, img: np.ndarray, moves: np.ndarray, **params: Any) -> np.ndarray:
        height, width = img.shape[:2]
        pixels = moves * np.array([width, height], np.float32)
        field = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        columns = field[..., 0] + np.arange(width, dtype=np.float32)
        rows = field[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        warped = cv2.remap(img, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return warped.reshape(img.shape)  # OpenCV drops the axis of a single channel
