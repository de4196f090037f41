"""Pipelines of albumentations for the training images of a competition, in three strengths."""

from typing import Any

import albumentations as A

from kcomp.augment.warping import LocalWarp
from kcomp.data.image_size import ImageSize, height_and_width


def light(size: ImageSize, *, mirror: bool = True) -> A.Compose:
    """Return a pipeline of weak augmentation: crops, mirror images, brightness and contrast.

    Use it for short trainings, and if small details of an image determine its label.

    Args:
        size: The size of the result in pixels: one number for a square, or (height, width).
        mirror: Whether to mirror half of the images from left to right. Use False if a mirror image has another label,
            as with text and digits.

    Raises:
        ValueError: If the size is not valid.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> augment.light(32)(image=np.zeros((48, 64, 3), np.uint8))["image"].shape
        (32, 32, 3)
    """
    return A.Compose([*cropped(size, 0.7, mirror), brightness(0.1)])


def medium(size: ImageSize, *, mirror: bool = True) -> A.Compose:
    """Return a pipeline of medium augmentation: `light` with smaller crops, rotation, colour changes and holes.

    Use it for most trainings of a pretrained network.

    Args:
        size: The size of the result in pixels: one number for a square, or (height, width).
        mirror: Whether to mirror half of the images from left to right.

    Raises:
        ValueError: If the size is not valid.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> augment.medium((24, 32))(image=np.zeros((48, 64, 3), np.uint8))["image"].shape
        (24, 32, 3)
    """
    return A.Compose(
        [
            *cropped(size, 0.5, mirror),
            A.Affine(rotate=(-15, 15), translate_percent=(-0.06, 0.06), border_mode=REFLECT, p=0.5, strict=True),
            brightness(0.2),
            A.HueSaturationValue(8, 20, 10, p=0.3, strict=True),
            holes((1, 2), p=0.25),
        ]
    )


def heavy(size: ImageSize, *, mirror: bool = True) -> A.Compose:
    """Return a pipeline of strong augmentation: `medium` with shearing, local warping, blur, noise and more holes.

    Use it for long trainings and small data sets.

    Args:
        size: The size of the result in pixels: one number for a square, or (height, width).
        mirror: Whether to mirror half of the images from left to right.

    Raises:
        ValueError: If the size is not valid.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> augment.heavy(32, mirror=False)(image=np.zeros((48, 64, 3), np.uint8))["image"].shape
        (32, 32, 3)
    """
    affine = {"rotate": (-30, 30), "scale": (0.8, 1.2), "shear": (-10, 10), "translate_percent": (-0.1, 0.1)}
    filters = [A.Emboss(strict=True), A.Sharpen(strict=True), A.GaussianBlur(strict=True), A.GaussNoise(strict=True)]
    return A.Compose(
        [
            *cropped(size, 0.3, mirror),
            A.Affine(**affine, border_mode=REFLECT, p=0.7, strict=True),
            LocalWarp(0.03, p=0.3),
            brightness(0.3),
            A.HueSaturationValue(12, 30, 15, p=0.5, strict=True),
            A.RGBShift(20, 20, 20, p=0.3, strict=True),
            A.OneOf(filters, p=0.4),
            holes((2, 8), p=0.5),
        ]
    )


REFLECT = 4  # cv2.BORDER_REFLECT_101: pixels outside of the image mirror the image


def cropped(size: ImageSize, smallest: float, mirror: bool) -> list[Any]:
    """Return the first steps of a pipeline: a random crop, resized to `size`, and mirror images if `mirror` is True.

    smallest: Smallest share of the image's area in a crop.
    """
    crop = A.RandomResizedCrop(height_and_width(size), scale=(smallest, 1.0), strict=True)
    return [crop, A.HorizontalFlip(p=0.5, strict=True)] if mirror else [crop]


def brightness(limit: float) -> Any:
    return A.RandomBrightnessContrast(brightness_limit=limit, contrast_limit=limit, p=0.5, strict=True)


def holes(count: tuple[int, int], p: float) -> Any:
    """Return a step that fills between count[0] and count[1] random boxes with black."""
    sides = {"hole_height_range": (0.08, 0.2), "hole_width_range": (0.08, 0.2)}
    return A.CoarseDropout(num_holes_range=count, **sides, p=p, strict=True)
