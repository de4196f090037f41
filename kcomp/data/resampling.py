"""Resize images with OpenCV or Pillow."""

import cv2
import numpy as np
from PIL import Image as PillowImage

RESAMPLING = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def resample(pixels: np.ndarray, height: int, width: int, resampling: str) -> np.ndarray:
    """Resize an image to `height` and `width`. `resampling` is "area", "linear" or "bicubic".

    The argument and the result are uint8 of shape (height, width, channels).
    """
    if pixels.shape[:2] == (height, width):
        return pixels.copy()
    if pixels.shape[2] != 3:  # OpenCV and Pillow take only some numbers of channels
        planes = [resample_plane(plane, height, width, resampling) for plane in np.moveaxis(pixels, 2, 0)]
        return np.stack(planes, 2)
    return resample_plane(pixels, height, width, resampling)


def resample_plane(pixels: np.ndarray, height: int, width: int, resampling: str) -> np.ndarray:
    if resampling == "bicubic":  # Pillow antialiases, OpenCV does not; ImageNet accuracies are measured with Pillow
        return np.asarray(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BICUBIC))
    return cv2.resize(pixels, (width, height), interpolation=RESAMPLING[resampling])
