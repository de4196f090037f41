"""Decode one image, resize it once, and keep what fits into a bounded memory cache."""

import io
import threading
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from kcomp.data.tables import Image

FITS = ("stretch", "shorter", "crop")
RESAMPLING = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


class Images:
    """Decoded and resized images.

    `size` is the side in pixels; None keeps an image as it is. `fit` is "stretch" (to size x size), "shorter" (the
    shorter side becomes `size`, the proportions stay) or "crop" (then the centre size x size is cut out).
    `resampling` is "area" (for shrinking; OpenCV falls back to linear where an image grows), "linear" or "bicubic"
    (with antialiasing, as Pillow does it). `cache_bytes` bounds the cache, 0 turns it off; when it is full, what is
    in it stays, which serves an epoch in random order better than any eviction.
    """

    def __init__(
        self, size: int | None, *, fit: str = "stretch", resampling: str = "area", cache_bytes: int = 2 << 30
    ) -> None:
        if size is not None and size < 1:
            raise ValueError(f"the image size must be at least 1 pixel, or None; received {size}")
        if fit not in FITS:
            raise ValueError(f"`fit` must be one of {', '.join(FITS)}; received {fit!r}")
        if resampling not in RESAMPLING:
            raise ValueError(f"`resampling` must be one of {', '.join(RESAMPLING)}; received {resampling!r}")
        self.size, self.fit, self.resampling, self.cache_bytes = size, fit, resampling, cache_bytes
        self.cached_bytes = 0
        self._cache: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def load(self, image_id: str, image: Image) -> np.ndarray:
        """Return the image as uint8 RGB of shape (height, width, 3), read-only; ValueError names id and file."""
        found = self._cache.get(image_id)
        if found is not None:
            return found
        try:
            pixels = self.resize(decode(image))
        except (OSError, ValueError, cv2.error) as error:
            where = f" ({image})" if isinstance(image, str | Path) else ""
            raise ValueError(f"the image of row {image_id!r} cannot be read{where}: {error}") from error
        pixels.setflags(write=False)
        with self._lock:
            if image_id not in self._cache and self.cached_bytes + pixels.nbytes <= self.cache_bytes:
                self._cache[image_id] = pixels
                self.cached_bytes += pixels.nbytes
        return pixels

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """Resize uint8 RGB pixels to this object's size and fit."""
        if self.size is None:
            return np.ascontiguousarray(pixels)
        height, width = pixels.shape[:2]
        if self.fit == "stretch":
            new_height = new_width = self.size
        else:
            ratio = self.size / min(height, width)
            new_height, new_width = max(round(height * ratio), self.size), max(round(width * ratio), self.size)
        pixels = resample(pixels, new_height, new_width, self.resampling)
        if self.fit == "crop":
            top, left = (new_height - self.size) // 2, (new_width - self.size) // 2
            pixels = pixels[top : top + self.size, left : left + self.size]
        return np.ascontiguousarray(pixels)


def resample(pixels: np.ndarray, height: int, width: int, resampling: str) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels.copy()
    if resampling == "bicubic":  # OpenCV's does not antialias, and ImageNet accuracies are measured with Pillow's
        return np.asarray(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BICUBIC))
    return cv2.resize(pixels, (width, height), interpolation=RESAMPLING[resampling])


def decode(image: Image) -> np.ndarray:
    """Return uint8 RGB pixels, upright as the EXIF orientation says; raises OSError or ValueError where it cannot.

    OpenCV decodes; what it refuses goes to Pillow, which knows more formats and says what is wrong with a file.
    """
    if callable(image):
        image = image()
    if isinstance(image, np.ndarray):
        return as_rgb(image)
    encoded = image if isinstance(image, bytes) else Path(image).read_bytes()
    if not encoded:
        raise ValueError("the file is empty")
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    return pixels if pixels is not None else decode_with_pillow(encoded)


def decode_with_pillow(encoded: bytes) -> np.ndarray:
    try:
        with PillowImage.open(io.BytesIO(encoded)) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError("not an image in a known format") from None
    except SyntaxError as error:  # Pillow raises it for broken PNG chunks
        raise ValueError(str(error)) from error


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Turn uint8 grey (H, W) or (H, W, 1), RGB, or RGBA pixels into RGB (H, W, 3)."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"pixels must be uint8 of 2 or 3 dimensions; received {pixels.dtype} of shape {pixels.shape}")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] not in (1, 3, 4):
        raise ValueError(f"pixels must have 1, 3 or 4 channels; received shape {pixels.shape}")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]
