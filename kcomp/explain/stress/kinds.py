"""Changes of an image that test a model: rotation, blur and others, each at several strengths.

All functions take and return uint8 pixels of shape (height, width, channels). The size does not change.

References:
    Hendrycks and Dietterich 2019, Benchmarking neural network robustness to common corruptions and perturbations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
BORDER = cv2.BORDER_REFLECT_101


@dataclass(frozen=True)
class Stress:
    """A kind of change of images, such as rotation, with the strengths to test.

    Attributes:
        name: The name.
        unit: The unit of the strengths.
        strengths: All strengths, in ascending order, without `neutral`.
        realistic: The strengths that images of a competition may really have.
        neutral: The strength that changes nothing.
        remedy: What makes the model robust to the change: an augmentation of albumentations, or a view of
            `kcomp.views`.
        change: Takes pixels, a strength and a random generator. Returns the changed pixels.
        is_reversible: Whether another strength can undo the change, so that the change may also improve an image.
        may_change_label: Whether a changed image may have another label, such as a mirrored letter.
        names: Names of the strengths, in the same order. () for strengths that are amounts.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    realistic: tuple[float, ...]
    neutral: float
    remedy: str
    change: Change
    is_reversible: bool = False
    may_change_label: bool = False
    names: tuple[str, ...] = ()

    def describe(self, strength: float) -> str:
        if self.names:
            return self.names[self.strengths.index(strength)]
        return f"{strength:g} {self.unit}".strip()

    @property
    def realistic_text(self) -> str:
        """The realistic strengths as text, such as "-15 or 15 degrees"."""
        if self.names:
            return " or ".join(map(self.describe, self.realistic))
        return f"{' or '.join(f'{strength:g}' for strength in self.realistic)} {self.unit}".strip()


def apply_to_channels(function: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    return np.stack([function(np.ascontiguousarray(plane)) for plane in np.moveaxis(pixels, 2, 0)], 2)


def warp(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move the pixels by an affine map (2, 3). Beyond its borders, the image is mirrored."""
    size = pixels.shape[1], pixels.shape[0]
    return apply_to_channels(
        lambda plane: cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_LINEAR, borderMode=BORDER), pixels
    )


def rotate(pixels: np.ndarray, degrees: float, draws: np.random.Generator) -> np.ndarray:
    """Rotate an image counter-clockwise about its centre. Multiples of 90 degrees lose no pixels of a square image."""
    height, width = pixels.shape[:2]
    if degrees % 90 == 0 and (height == width or degrees % 180 == 0):
        return np.ascontiguousarray(np.rot90(pixels, round(degrees / 90)))
    return warp(pixels, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0))


def mirror(pixels: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Swap left and right at strength 1. Turn the image upside down at strength 2."""
    return np.ascontiguousarray(np.flip(pixels, 1 if strength == 1 else 0))


def zoom(pixels: np.ndarray, factor: float, draws: np.random.Generator) -> np.ndarray:
    """Enlarge the content about the centre by a factor. With a factor below 1, the content becomes smaller."""
    height, width = pixels.shape[:2]
    return warp(pixels, cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0.0, factor))


def shift(pixels: np.ndarray, percent: float, draws: np.random.Generator) -> np.ndarray:
    """Move the content in a random direction, by a percentage of the image's size."""
    angle = draws.uniform(0, 2 * np.pi)
    height, width = pixels.shape[:2]
    across, down = np.cos(angle) * width * percent / 100, np.sin(angle) * height * percent / 100
    return warp(pixels, np.array([[1, 0, across], [0, 1, down]]))


def brighten(pixels: np.ndarray, percent: float, draws: np.random.Generator) -> np.ndarray:
    """Multiply all values by 1 + percent / 100."""
    return clipped(pixels.astype(np.float32) * (1 + percent / 100))


def change_contrast(pixels: np.ndarray, percent: float, draws: np.random.Generator) -> np.ndarray:
    """Multiply the distance of all values from the mean of the image by 1 + percent / 100."""
    mean = np.float32(pixels.mean())
    return clipped((pixels.astype(np.float32) - mean) * (1 + percent / 100) + mean)


def blur(pixels: np.ndarray, percent: float, draws: np.random.Generator) -> np.ndarray:
    """Blur with a Gaussian kernel whose standard deviation is a percentage of the shorter side."""
    deviation = min(pixels.shape[:2]) * percent / 100
    return apply_to_channels(lambda plane: cv2.GaussianBlur(plane, (0, 0), deviation, borderType=BORDER), pixels)


def add_noise(pixels: np.ndarray, deviation: float, draws: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise with this standard deviation to each value (0 to 255)."""
    return clipped(pixels + deviation * draws.standard_normal(pixels.shape, np.float32))


def compress(pixels: np.ndarray, quality: float, draws: np.random.Generator) -> np.ndarray:
    """Compress an image as JPEG with a quality from 1 to 100, and decode it."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    if pixels.shape[2] == 3:
        return cv2.imdecode(cv2.imencode(".jpg", pixels, options)[1], cv2.IMREAD_COLOR)
    return apply_to_channels(
        lambda plane: cv2.imdecode(cv2.imencode(".jpg", plane, options)[1], cv2.IMREAD_GRAYSCALE), pixels
    )


def occlude(pixels: np.ndarray, percent: float, draws: np.random.Generator) -> np.ndarray:
    """Cover a percentage of the area by a grey rectangle at a random place. It has the aspect ratio of the image."""
    height, width = pixels.shape[:2]
    side = np.sqrt(percent / 100)
    tall, wide = max(1, round(height * side)), max(1, round(width * side))
    top, left = draws.integers(0, height - tall + 1), draws.integers(0, width - wide + 1)
    covered = pixels.copy()
    covered[top : top + tall, left : left + wide] = 128
    return covered


def clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


ANGLES = (-150.0, -120.0, -90.0, -60.0, -30.0, -15.0, 15.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0)
KINDS = (
    Stress("rotation", "degrees", ANGLES, (-15, 15), 0, "Rotate, or RandomRotate90", rotate, is_reversible=True),
    Stress(
        "mirroring",
        "",
        (1, 2),
        (1,),
        0,
        "HorizontalFlip or views.left_right, if a mirrored image keeps its label",
        mirror,
        is_reversible=True,
        may_change_label=True,
        names=("left-right", "upside down"),
    ),
    Stress("scale", "times", (0.5, 0.7, 0.85, 1.2, 1.5), (0.85, 1.2), 1, "Affine(scale=...)", zoom, is_reversible=True),
    Stress("shift", "% of the size", (5, 10, 20, 30), (10,), 0, "Affine(translate_percent=...)", shift),
    Stress(
        "brightness",
        "%",
        (-60, -40, -20, 20, 40, 60),
        (-20, 20),
        0,
        "RandomBrightnessContrast",
        brighten,
        is_reversible=True,
    ),
    Stress(
        "contrast",
        "%",
        (-60, -40, -20, 20, 40, 60),
        (-20, 20),
        0,
        "RandomBrightnessContrast",
        change_contrast,
        is_reversible=True,
    ),
    Stress("blur", "% of the shorter side", (0.5, 1, 2, 4), (1,), 0, "GaussianBlur", blur),
    Stress("noise", "grey values", (5, 10, 20, 40), (10,), 0, "GaussNoise", add_noise),
    Stress("JPEG quality", "", (10, 20, 40, 70), (40,), 100, "ImageCompression", compress),
    Stress("occlusion", "% of the area", (5, 10, 20, 40), (10,), 0, "CoarseDropout, or augment.RandomErasing", occlude),
)
