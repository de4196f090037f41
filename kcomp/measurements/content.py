"""Read the encoded bytes or the pixels of an image: a file, bytes, an array, a function or a crop of a file."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kcomp.data.boxes import Crop
from kcomp.data.damage import FileCheck
from kcomp.data.decoding import read_all_channels, read_pixels
from kcomp.data.tables import Image
from kcomp.data.value_range import ValueRange, measure_range, to_eight_bits
from kcomp.image_files.limits import read_file
from kcomp.system.file_version import file_version


@dataclass(frozen=True)
class ImageContent:
    """An image that was read but not decoded.

    Attributes:
        path: The path of the file. Empty if the image is not a file.
        modified: The modification time in seconds since 1970. NaN if the image is not a file.
        encoded: The encoded bytes. Empty for an array.
        image: The image as bytes, an array or a `Crop`.
        part: The box of a crop as text. Empty if the whole image is used.
    """

    path: str
    modified: float
    encoded: bytes
    image: Image
    part: str = ""


def file_of(image: Image) -> str:
    """Return the path of the file that has the image or the crop of an image. Empty if the image is not a file."""
    whole = image.image if isinstance(image, Crop) else image
    return str(whole) if isinstance(whole, str | Path) else ""


def cache_identity(image: Image) -> str | None:
    """Return a text that changes when the content of an image changes. No file is read.

    Return None for a missing file, and for a function without such a text.
    """
    path = file_of(image)
    if path:
        try:
            version = file_version(path)
        except (OSError, ValueError):
            return None
        part = f"{image.edges} {image.shares}" if isinstance(image, Crop) else ""
        return f"file {part} {version}"
    if isinstance(image, bytes):
        return f"bytes {hash_of(image)}"
    if isinstance(image, np.ndarray):
        return f"array {image.dtype} {image.shape} {hash_of(np.ascontiguousarray(image).data)}"
    identity = getattr(image, "identity", None)
    return None if identity is None else f"function {identity}"


def read_content(image: Image) -> ImageContent:
    """Read the encoded bytes of an image, or its array, without decoding it.

    Raises:
        OSError: If the file cannot be read. The function of an image may raise other errors.
    """
    path = file_of(image)
    if path:
        encoded, modified = read_file(path), os.stat(path).st_mtime  # noqa: PTH116  # faster than Path
        if isinstance(image, Crop):
            return ImageContent(path, modified, encoded, image, f"{image.edges} {image.shares}")
        return ImageContent(path, modified, encoded, encoded)
    if callable(image):
        image = image()
    return ImageContent("", float("nan"), image if isinstance(image, bytes) else b"", image)


def rgb_pixels(image: Image, value_range: ValueRange | None) -> np.ndarray:
    """Decode an image to upright RGB of eight bits. Of more than four channels, the first three are used.

    Args:
        image: Bytes, an array or a `Crop`.
        value_range: The two pixel values (low, high) that become 0 and 255, for images with more than eight bits. None
            for the range of this image.

    Returns:
        Contiguous pixels, uint8 (height, width, 3).

    Raises:
        ValueError: If the image cannot be decoded.
    """
    pixels = three_channels(image)
    if pixels.dtype != np.uint8 and value_range is None:
        value_range = measure_range([FileCheck(None, str(pixels.dtype), float(pixels.min()), float(pixels.max()))])
    return np.ascontiguousarray(to_eight_bits(pixels, value_range))


def three_channels(image: Image) -> np.ndarray:
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        return first_channels(image)
    try:
        return read_pixels(image)
    except ValueError:
        pixels = read_all_channels(image) if isinstance(image, bytes) and image else None
        if pixels is None or pixels.ndim != 3 or pixels.shape[2] in (1, 3, 4):
            raise
        return first_channels(pixels)


def first_channels(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, :, [0, 1, 1] if pixels.shape[2] == 2 else [0, 1, 2]]


def hash_of(*contents: bytes | memoryview) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for content in contents:
        digest.update(content)
    return digest.hexdigest()
