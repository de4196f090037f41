"""Measure one image."""

import math
from dataclasses import asdict, replace

import numpy as np

from kcomp.data.tables import Image
from kcomp.data.value_range import ValueRange
from kcomp.image_files.check_process import is_deep
from kcomp.measurements.content import ImageContent, file_of, hash_of, read_content, rgb_pixels
from kcomp.measurements.facts import ImageFacts
from kcomp.measurements.header import Header, read_header
from kcomp.measurements.pixels import PixelFacts, measure_pixels

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def measure_image(
    image: Image, value_range: ValueRange | None = None, problem: str = "", *, pixels: bool = True
) -> ImageFacts:
    """Measure an image. If it cannot be read, the attribute `problem` of the result says why.

    Args:
        image: A path, encoded bytes, an array, or a function that returns bytes or an array.
        value_range: The two pixel values (low, high) that become 0 and 255, for images with more than eight bits.
        problem: What is damaged in the image, if this is known. The pixels are then not measured.
        pixels: Whether to measure the pixels.
    """
    try:
        content = read_content(image)
    except Exception as error:  # noqa: BLE001  # the function of an image may raise anything
        return unread(file_of(image), problem or error_text(error))
    header = read_header(content.encoded) if content.encoded else header_of_array(content.image)
    facts = with_header(content, header, problem)
    if problem or not pixels:
        return facts
    try:
        decoded = rgb_pixels(content.image, value_range)
    except Exception as error:  # noqa: BLE001  # decoders raise many types of errors
        return replace(facts, problem=error_text(error))
    height, width = decoded.shape[:2]
    if not header.mode:  # Pillow cannot read the file, but OpenCV can
        facts = replace(facts, format="TIFF" if is_deep(content.encoded) else "", mode="RGB", bits=8)
    return replace(
        facts,
        width=width,
        height=height,
        pixels_hash=hash_of(f"{decoded.shape}".encode(), decoded.data),
        **asdict(measure_pixels(decoded)),
    )


def with_header(content: ImageContent, header: Header, problem: str) -> ImageFacts:
    """Return measurements of the file and its header. The measurements of pixels are NaN, 0 or empty."""
    return ImageFacts(
        path=content.path,
        problem=problem,
        size_bytes=len(content.encoded),
        modified=content.modified,
        bytes_hash=hash_of(content.encoded, content.part.encode()) if content.encoded else "",
        pixels_hash="",
        **asdict(header),
        **asdict(PixelFacts()),
    )


def unread(path: str, problem: str) -> ImageFacts:
    return with_header(ImageContent(path, math.nan, b"", b""), Header(), problem)


def header_of_array(image: Image) -> Header:
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        return Header()
    channels = image.shape[2] if image.ndim == 3 else 1
    mode = MODES.get(channels, f"{channels} channels")
    return Header(width=image.shape[1], height=image.shape[0], mode=mode, bits=8 * image.itemsize)


def error_text(error: Exception) -> str:
    """Return the text of an error without the file name, or the error's type if it has no text."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
