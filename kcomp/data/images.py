"""Decode, resize and cache images."""

import copy
import hashlib
from pathlib import Path

import cv2
import numpy as np
import PIL

from kcomp.data.decoded import decoded_images
from kcomp.data.decoding import decode
from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.data.resampling import RESAMPLING, resample
from kcomp.data.tables import Image
from kcomp.data.value_range import ValueRange, check_range
from kcomp.system.cache import cache_folder
from kcomp.system.file_version import file_version
from kcomp.system.processor import processor_key

FITS = ("stretch", "shorter", "crop")
SMALL = 32 * 32  # pixels; images this small are not cached: decoding is as fast as reading the cache


class Images:
    """Decode and resize images, and cache the result on disk for this and later trainings.

    Args:
        size: The target size in pixels, from 1: one number for a square, or (height, width). None keeps the size of
            each image.
        fit: "stretch" resizes to the target size. "shorter" keeps the aspect ratio and resizes to the smallest image
            that covers the target size. "crop" resizes like "shorter", then cuts out the centre.
        resampling: "area" (for shrinking; OpenCV falls back to linear where an image grows), "linear" (without
            antialiasing), "bilinear", or "bicubic" (both with antialiasing, as in Pillow).
        reduced: Whether to decode large JPEGs at a half, a quarter or an eighth of their width and height. This is
            faster and gives slightly different pixels. The shorter side of the image must be at least 4 times the
            longer side of `size`.
        value_range: The two pixel values, such as (0, 4095), that become 0 and 255, for images with more than eight
            bits a channel. None takes the values that were measured when the table was read.
        channels: How many channels the result has, from 1 to 8: 1 for grey, 3 for RGB, 4 for RGBA. 1 and 3 convert
            grey, RGB and RGBA images. Any other number must equal the number of channels of the images.
        cache_bytes: Largest size of the folder of decoded images in kcomp's cache ($KCOMP_CACHE), which all runs share.
            0 turns the cache off. Arrays are not cached, and functions only if they have an attribute `identity`, a
            text that changes with the image.

    Raises:
        ValueError: If an argument is not one of the allowed values.

    Examples:
        >>> import numpy as np
        >>> from kcomp import data
        >>> images = data.Images(32, fit="crop", cache_bytes=0)
        >>> images.load("leaf", np.zeros((48, 64, 3), np.uint8)).shape
        (32, 32, 3)
    """

    def __init__(
        self,
        size: ImageSize | None,
        *,
        fit: str = "stretch",
        resampling: str = "area",
        reduced: bool = False,
        value_range: ValueRange | None = None,
        channels: int = 3,
        cache_bytes: int = 8 << 30,
    ) -> None:
        if size is not None:
            height, width = height_and_width(size)
            size = height if height == width else (height, width)
        if fit not in FITS:
            raise ValueError(f"`fit` must be one of {', '.join(FITS)}; received {fit!r}")
        if resampling not in RESAMPLING:
            raise ValueError(f"`resampling` must be one of {', '.join(RESAMPLING)}; received {resampling!r}")
        if cache_bytes < 0:
            raise ValueError(f"`cache_bytes` must be at least 0; received {cache_bytes}")
        if not isinstance(channels, int) or not 1 <= channels <= 8:
            raise ValueError(f"`channels` must be a whole number from 1 to 8; received {channels!r}")
        check_range(value_range)
        self.size, self.fit, self.resampling, self.reduced = size, fit, resampling, reduced
        self.value_range, self.channels = value_range, channels
        self._cache = decoded_images(cache_folder() / "decoded", cache_bytes) if cache_bytes else None

    @property
    def settings(self) -> str:
        """A text with every setting that changes the pixels, for the cache key of an image."""
        versions = f"{cv2.__version__} {PIL.__version__} {processor_key()}"
        return f"{versions} {self.size} {self.fit} {self.resampling} {self.reduced} {self.value_range} {self.channels}"

    @property
    def is_cached(self) -> bool:
        """Whether decoded images are cached on disk."""
        return self._cache is not None

    def with_range(self, value_range: ValueRange | None) -> "Images":
        """Return a copy that scales pixels from `value_range`, unless the object has a range already."""
        if self.value_range is not None or value_range is None:
            return self
        ranged = copy.copy(self)
        ranged.value_range = value_range
        return ranged

    def load(self, image_id: str, image: Image) -> np.ndarray:
        """Decode and resize one image.

        Args:
            image_id: Id of the row; used in error messages only.
            image: A path, encoded bytes, an array, or a function that returns bytes or an array.

        Returns:
            Pixels, uint8 of shape (height, width, channels), read-only.

        Raises:
            ValueError: If the image cannot be read. The message names the id and the file.
        """
        try:
            identity = identity_of(image) if self._cache is not None else None
            if self._cache is None or identity is None:
                return read_only(self.resize(self._decode(image)))
            key = hashlib.blake2b(f"{self.settings}\n{identity}".encode(), digest_size=16).hexdigest()
            pixels = self._cache.get(key, self.channels)
            if pixels is None:
                decoded = self._decode(image)
                pixels = read_only(self.resize(decoded))
                if decoded.shape[0] * decoded.shape[1] > SMALL:
                    self._cache.put(key, pixels)
            return pixels
        except (OSError, ValueError, cv2.error) as error:
            where = f" ({image})" if isinstance(image, str | Path) else ""
            raise ValueError(f"the image of row {image_id!r} cannot be read{where}: {error}") from error

    def _decode(self, image: Image) -> np.ndarray:
        least = max(height_and_width(self.size)) if self.reduced and self.size is not None else None
        return decode(image, least, self.value_range, self.channels)

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """Resize pixels to `size` with `fit` and `resampling`. Both are uint8 of shape (height, width, channels)."""
        if self.size is None:
            return np.ascontiguousarray(pixels)
        height, width = height_and_width(self.size)
        new_height, new_width = height, width
        if self.fit != "stretch":
            ratio = max(height / pixels.shape[0], width / pixels.shape[1])
            new_height, new_width = (
                max(round(pixels.shape[0] * ratio), height),
                max(round(pixels.shape[1] * ratio), width),
            )
        pixels = resample(pixels, new_height, new_width, self.resampling)
        if self.fit == "crop":
            top, left = (new_height - height) // 2, (new_width - width) // 2
            pixels = pixels[top : top + height, left : left + width]
        return np.ascontiguousarray(pixels)


def identity_of(image: Image) -> str | None:
    """Return a text that changes with an image, for the cache of decoded images.

    It has the path, size, times and inode of a file, the hash of bytes, or the attribute `identity` of a function.
    Return None for an array, or for a function without this attribute.
    """
    if isinstance(image, bytes):
        return f"bytes {hashlib.sha256(image).hexdigest()}"
    if isinstance(image, str | Path):
        return f"file {file_version(image)}"
    return getattr(image, "identity", None)


def read_only(pixels: np.ndarray) -> np.ndarray:
    pixels.setflags(write=False)
    return pixels
