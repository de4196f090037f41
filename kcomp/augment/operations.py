"""The operations of AutoAugment and its successors, such as shearing and posterizing, as Pillow computes them.

The papers define their operations by Pillow's functions. An operation takes a Pillow image of mode "RGB" or "L" and a
magnitude.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Operation = Callable[[Image.Image, float], Image.Image]

GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
ENHANCING = {
    "Brightness": ImageEnhance.Brightness,
    "Color": ImageEnhance.Color,
    "Contrast": ImageEnhance.Contrast,
    "Sharpness": ImageEnhance.Sharpness,
}
SIGNED = (*GEOMETRIC, *ENHANCING)  # operations whose magnitude is negated with probability 0.5
POINTWISE: dict[str, Operation] = {
    "Identity": lambda image, _: image,
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "Solarize": lambda image, threshold: ImageOps.solarize(image, math.ceil(threshold)),
}


def apply_operation(
    image: Image.Image,
    name: str,
    magnitude: float,
    *,
    fill: int = 0,
    resampling: Image.Resampling = Image.Resampling.NEAREST,
) -> Image.Image:
    """Apply an operation to an image.

    Args:
        image: The image, of mode "RGB" or "L".
        name: The paper's name of the operation, such as "ShearX".
        magnitude: Shearing: the shift of a row in pixels, divided by the number of rows above it (ShearY: the same for
            columns). Translating: pixels to the right or down, without the fraction. Rotating: degrees. Brightness,
            Color, Contrast and Sharpness: the factor of the enhancement, minus 1. Posterize: how many bits are kept, 1
            to 8. Solarize: the smallest level that is inverted. Other operations ignore it.
        fill: Grey level of pixels that come from outside of the image, 0 to 255.
        resampling: How geometric operations interpolate.
    """
    if name in ENHANCING:
        return ENHANCING[name](image).enhance(1 + magnitude)
    if name in POINTWISE:
        return POINTWISE[name](image, magnitude)
    colour = (fill,) * len(image.getbands())
    if name == "Rotate":
        return image.rotate(magnitude, resample=resampling, fillcolor=colour)
    shift = int(magnitude)
    matrix = {
        "ShearX": (1, magnitude, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, magnitude, 1, 0),
        "TranslateX": (1, 0, -shift, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, -shift),
    }[name]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=resampling, fillcolor=colour)


def as_pillow(pixels: np.ndarray) -> Image.Image:
    """Return an array as a Pillow image.

    Raises:
        ValueError: If the array is not uint8 with 1 or 3 channels.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(
            "the operations of a policy need uint8 images with 1 or 3 channels; "
            f"received {pixels.dtype} of shape {pixels.shape}"
        )
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def as_pixels(image: Image.Image) -> np.ndarray:
    pixels = np.array(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
