"""Measure the pixels of an image: brightness, contrast, sharpness, noise, colours and perceptual hashes."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

LONGEST = 256  # pixels; sharpness is measured after shrinking the longer side to this
NOISE_SIDE = 512  # pixels; noise is measured inside a square of this side in the centre
HASH_SIDE = 32  # pixels; the side from which phash of imagehash computes its cosine transform
LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # the difference of two, after Immerkaer


@dataclass(frozen=True)
class PixelFacts:
    """Measurements of the pixels of an image. The attributes are those of `ImageFacts`."""

    brightness: float = math.nan
    contrast: float = math.nan
    low: float = math.nan
    high: float = math.nan
    sharpness: float = math.nan
    noise: float = math.nan
    red: float = math.nan
    green: float = math.nan
    blue: float = math.nan
    hashes: tuple[int, ...] = (0,) * 8


def measure_pixels(pixels: np.ndarray) -> PixelFacts:
    """Measure the pixels of an image, RGB uint8 (height, width, 3).

    Sharpness is measured in a smaller copy. Noise is measured in the centre of the image in its original size.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    red, green, blue = cv2.mean(pixels)[:3]
    counts = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256]))
    low, high = np.searchsorted(counts, [0.01 * counts[-1], 0.99 * counts[-1]])
    small = shrink(grey, LONGEST)
    return PixelFacts(
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        low=float(low),
        high=float(high),
        sharpness=laplacian_variance(small),
        noise=noise_deviation(centre(grey, NOISE_SIDE)),
        red=red,
        green=green,
        blue=blue,
        hashes=perceptual_hashes(small),
    )


def shrink(grey: np.ndarray, longest: int) -> np.ndarray:
    """Shrink an image so that its longer side has `longest` pixels. Return a smaller image unchanged."""
    height, width = grey.shape[:2]
    if max(height, width) <= longest:
        return grey
    ratio = longest / max(height, width)
    size = max(round(width * ratio), 1), max(round(height * ratio), 1)
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


def centre(grey: np.ndarray, side: int) -> np.ndarray:
    """Return a square with this side from the centre of an image. Return a smaller image unchanged."""
    top, left = (max(length - side, 0) // 2 for length in grey.shape[:2])
    return grey[top : top + side, left : left + side]


def laplacian_variance(grey: np.ndarray) -> float:
    """Return the variance of the Laplacian of grey values, a measure of sharpness (Pech-Pacheco et al. 2000)."""
    return float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0] ** 2)


def noise_deviation(grey: np.ndarray) -> float:
    """Estimate the standard deviation of the noise in grey values, without texture.

    Noise and texture together are measured in the image and in a copy of half the size. White noise is half as strong
    in the copy, and texture is about as strong.
    """
    # With noise n and texture t, the estimates are n**2 + t**2 and n**2 / 4 + t**2: n**2 is 4/3 of their difference.
    height, width = grey.shape
    half = cv2.resize(grey, (max(width // 2, 1), max(height // 2, 1)), interpolation=cv2.INTER_AREA)
    return math.sqrt(max(immerkaer(grey) ** 2 - immerkaer(half) ** 2, 0) * 4 / 3)


def immerkaer(grey: np.ndarray) -> float:
    """Estimate the standard deviation of noise and fine texture in grey values.

    The estimate is sqrt(pi / 2) / 6 times the mean absolute response to a filter that does not respond to edges
    (Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 1996).
    """
    if min(grey.shape) < 3:
        return 0.0
    response = cv2.filter2D(grey, cv2.CV_32F, LAPLACIANS)[1:-1, 1:-1]
    return math.sqrt(math.pi / 2) / 6 * cv2.norm(response, cv2.NORM_L1) / response.size


def perceptual_hashes(grey: np.ndarray) -> tuple[int, ...]:
    """Return the perceptual hashes of the 8 rotations and mirror images of an image, as numbers below 2**64.

    The first four belong to the image, rotated by 0, 90, 180 and 270 degrees counterclockwise. The last four belong to
    its mirror image, rotated in the same way. The hashes are those of `imagehash.phash`. Without the package imagehash,
    all are 0.
    """
    try:
        import imagehash
    except ImportError:
        return (0,) * 8
    from PIL import Image

    small = cv2.resize(grey, (HASH_SIDE, HASH_SIDE), interpolation=cv2.INTER_AREA)
    views = [np.rot90(view, turns) for view in (small, small[:, ::-1]) for turns in range(4)]
    hashes = [imagehash.phash(Image.fromarray(np.ascontiguousarray(view))) for view in views]
    return tuple(int.from_bytes(np.packbits(phash.hash).tobytes()) for phash in hashes)
