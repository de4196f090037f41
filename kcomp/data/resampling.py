"""Resize images with OpenCV or Pillow."""

import cv2
import numpy as np
from PIL import Image as PillowImage

# Pillow antialiases, OpenCV does not. ImageNet accuracies are measured with Pillow.
WITH_PILLOW = {"bilinear": PillowImage.Resampling.BILINEAR, "bicubic": PillowImage.Resampling.BICUBIC}
WITH_OPENCV = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}
RESAMPLING = (*WITH_OPENCV, *WITH_PILLOW)


def resample(pixels: np.ndarray, height: int, width: int, resampling: str) -> np.ndarray:
    """Resize an image, uint8 (height, width, channels). `resampling` is one of RESAMPLING."""
    if pixels.shape[:2] == (height, width):
        return pixels.copy()
    if pixels.shape[2] != 3:  # OpenCV and Pillow take only some numbers of channels
        planes = [resample_plane(plane, height, width, resampling) for plane in np.moveaxis(pixels, 2, 0)]
        return np.stack(planes, 2)
    return resample_plane(pixels, height, width, resampling)


def resample_plane(pixels: np.ndarray, height: int, width: int, resampling: str) -> np.ndarray:
    if resampling in WITH_PILLOW:
        return np.asarray(PillowImage.fromarray(pixels).resize((width, height), WITH_PILLOW[resampling]))
    return cv2.resize(pixels, (width, height), interpolation=WITH_OPENCV[resampling])
