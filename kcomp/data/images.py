"""Decode and resize one image."""

import copy
import hashlib
import io
import os
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from kcomp.data.check_process import deep_pixels, is_deep
from kcomp.data.decoded import decoded_images
from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.data.tables import Image
from kcomp.data.value_range import ValueRange, check_range, to_eight_bits
from kcomp.system.cache import cache_folder

FITS = ("stretch", "shorter", "crop")
RESAMPLING = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
REDUCTIONS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
SMALL = 32 * 32  # pixels before resizing; decoding so few is as fast as reading a cached file


class Images:
    """Decode and resize images, and cache the result on disk for all runs.

    Args:
        size: The target size in pixels, from 1: one number for a square, or (height, width). None keeps the size of
            each image.
        fit: "stretch" resizes to the target size. "shorter" keeps the proportions and resizes to the smallest image
            that covers the target size; for a square, its shorter side has that size. "crop" does the same, then cuts
            out the centre.
        resampling: "area" (for shrinking; OpenCV falls back to linear where an image grows), "linear", or "bicubic"
            (with antialiasing, as in Pillow).
        reduced: Whether to decode a JPEG whose shorter side is at least 4, 8 or 16 times the longer side of `size` at a
            half, a quarter or an eighth of its sides. Faster, with slightly different pixels.
        value_range: The lowest and highest value of images with more than eight bits a channel, such as (0, 4095);
            they become 0 and 255. None takes the range that was measured when the table was read. Images of eight bits
            are not scaled.
        cache_bytes: Largest size of the folder of decoded images in kcomp's cache ($KCOMP_CACHE), which all runs
            share. 0 turns the cache off. Cached are files, encoded bytes, and results of functions that have an
            attribute `identity`: a text that is unique to the image and changes with it. Arrays are not cached.

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
        check_range(value_range)
        self.size, self.fit, self.resampling, self.reduced = size, fit, resampling, reduced
        self.value_range = value_range
        self._cache = decoded_images(cache_folder() / "decoded", cache_bytes) if cache_bytes else None

    @property
    def settings(self) -> str:
        """A text that describes all that pixels depend on, except the image."""
        versions = f"{cv2.__version__} {PIL.__version__}"
        return f"{versions} {self.size} {self.fit} {self.resampling} {self.reduced} {self.value_range}"

    @property
    def is_cached(self) -> bool:
        """Whether decoded images are cached on disk."""
        return self._cache is not None

    def with_range(self, value_range: ValueRange | None) -> "Images":
        """Return a copy that scales images by this range, unless a range was declared."""
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
            RGB pixels, uint8 of shape (height, width, 3), read-only.

        Raises:
            ValueError: If the image cannot be read; the message names the id and the file.
        """
        try:
            identity = identity_of(image) if self._cache is not None else None
            if self._cache is None or identity is None:
                return read_only(self.resize(self._decode(image)))
            key = hashlib.blake2b(f"{self.settings}\n{identity}".encode(), digest_size=16).hexdigest()
            pixels = self._cache.get(key)
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
        return decode(image, least, self.value_range)

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """Resize RGB pixels, uint8 of shape (height, width, 3), to `size` with `fit` and `resampling`."""
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


def resample(pixels: np.ndarray, height: int, width: int, resampling: str) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels.copy()
    if resampling == "bicubic":  # Pillow antialiases, OpenCV does not; ImageNet accuracies are measured with Pillow
        return np.asarray(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BICUBIC))
    return cv2.resize(pixels, (width, height), interpolation=RESAMPLING[resampling])


def identity_of(image: Image) -> str | None:
    """Return a text that is unique to the image and changes with it; None if there is no such text."""
    if isinstance(image, bytes):
        return f"bytes {hashlib.sha256(image).hexdigest()}"
    if isinstance(image, str | Path):
        status = os.stat(image)  # noqa: PTH116  # faster than Path
        return f"file {status.st_size} {status.st_mtime_ns} {os.path.abspath(image)}"  # noqa: PTH100
    return getattr(image, "identity", None)


def decode(image: Image, size: int | None = None, value_range: ValueRange | None = None) -> np.ndarray:
    """Decode an image and turn it upright, as its EXIF orientation says.

    OpenCV decodes. Pillow decodes what OpenCV cannot, and reports what is wrong with a file.

    Args:
        image: A path, encoded bytes, an array, or a function that returns bytes or an array.
        size: If set, a large JPEG is decoded at a half, a quarter or an eighth of its sides (rounded up). Its shorter
            side stays at least twice `size`, because resizing from a smaller image would blur.
        value_range: The values of images with more than eight bits that become 0 and 255.

    Returns:
        RGB pixels, uint8 of shape (height, width, 3).

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the content is not an image, or has more than eight bits and there is no range.
    """
    return to_eight_bits(read_pixels(image, size), value_range)


def read_pixels(image: Image, size: int | None = None) -> np.ndarray:
    """Decode an image as `decode` does; return RGB pixels (height, width, 3) in the type that the image has."""
    if callable(image):
        image = image()
    if isinstance(image, np.ndarray):
        return as_rgb(image)
    encoded = image if isinstance(image, bytes) else Path(image).read_bytes()
    if not encoded:
        raise ValueError("the file is empty")
    if is_deep(encoded):
        pixels = deep_pixels(encoded)
        if pixels is not None:
            return as_rgb(pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    flag = reduction(encoded, size) if size is not None else None
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB if flag is None else flag)
    if pixels is None:
        return decode_with_pillow(encoded)
    return (
        pixels if flag is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    )  # OpenCV decodes reduced images as BGR only


def reduction(encoded: bytes, size: int) -> int | None:
    """Return OpenCV's flag for the smallest decoding whose shorter side is at least twice `size`, or None."""
    sides = jpeg_sides(encoded)
    return next((flag for factor, flag in REDUCTIONS.items() if sides and min(sides) >= 2 * size * factor), None)


def jpeg_sides(encoded: bytes) -> tuple[int, int] | None:
    """Return height and width from a JPEG's frame header (ITU-T T.81, B.2.2); None if there is none."""
    if encoded[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header; the three are tables
            return int.from_bytes(encoded[place + 5 : place + 7]), int.from_bytes(encoded[place + 7 : place + 9])
        else:
            place += 2 + int.from_bytes(encoded[place + 2 : place + 4])
    return None


def decode_with_pillow(encoded: bytes) -> np.ndarray:
    try:
        with PillowImage.open(io.BytesIO(encoded)) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError("not an image in a known format") from None
    except SyntaxError as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise ValueError(str(error)) from error


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Convert grey (H, W) or (H, W, 1), RGB or RGBA pixels to RGB (H, W, 3)."""
    if pixels.dtype.kind not in "uif" or pixels.ndim not in (2, 3):
        raise ValueError(f"pixels must be numbers of 2 or 3 dimensions; received {pixels.dtype} of {pixels.shape}")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] not in (1, 3, 4):
        raise ValueError(f"pixels must have 1, 3 or 4 channels; received shape {pixels.shape}")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]


def read_only(pixels: np.ndarray) -> np.ndarray:
    pixels.setflags(write=False)
    return pixels
