"""How timm prepares images for a checkpoint."""

import math

from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.data.images import Images
from kcomp.models.checkpoints.known import known_checkpoint
from kcomp.models.preprocessing import Preprocessing


def timm_preprocessing(name: str, image_size: ImageSize | None = None) -> Preprocessing:
    """Return how timm prepares images for a checkpoint outside of training.

    timm scales an image until it just covers image_size / c, with the checkpoint's interpolation, and cuts out the
    centre. c is a number of the checkpoint, from 0.875 to 1. Mean and standard deviation are not needed here, because
    the network of `models.timm` normalises its images.

    In training, replace `transform` by a random crop and other augmentation of the same `images`. Each image is then
    decoded and cached once for both.

    Args:
        name: timm's name of the checkpoint, as for `models.timm`.
        image_size: The size of the network's images in pixels: one number for a square, or (height, width). None for
            the size that the checkpoint was trained with.

    Returns:
        Arguments of `data.Batches`.

    Raises:
        ValueError: If the name is unknown, or the size is below 1.

    Examples:
        >>> from kcomp import models
        >>> prepared = models.timm_preprocessing("convnext_tiny.fb_in1k")
        >>> prepared.image_size, prepared.images.size, prepared.images.resampling
        ((224, 224), 256, 'bicubic')
    """
    import albumentations  # slow to import

    checkpoint = known_checkpoint(name)
    height, width = checkpoint.size if image_size is None else height_and_width(image_size)
    scaled = (math.floor(height / checkpoint.crop), math.floor(width / checkpoint.crop))
    images = Images(scaled, fit="shorter", resampling=checkpoint.interpolation)
    return Preprocessing((height, width), images, albumentations.Compose([albumentations.CenterCrop(height, width)]))
