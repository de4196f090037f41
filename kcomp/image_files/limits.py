"""Refuse image files that are too large, before they are decoded."""

import functools
import io
import os
import stat
from pathlib import Path

from kcomp.image_files.sides import READERS, Sides, read_sides

VARIABLE = "KCOMP_MAX_PIXELS"
DEFAULT = 178_956_970  # pixels; the limit above which Pillow raises an error
LARGEST = 1 << 30  # pixels; OpenCV decodes no larger images
METADATA = 16 << 20  # bytes before the picture; color profiles have up to 4 MB, and Pillow is slow for more
BYTES = 8  # of a file, for each allowed pixel: four channels of 16 bits, not compressed
# Formats that Pillow may open. The others need other programs (EPS), or no competition uses them.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")


def largest_pixels() -> int:
    """Return how many pixels an image file may have: $KCOMP_MAX_PIXELS, or 178,956,970.

    Raises:
        ValueError: If the environment variable is not a whole number from 1 to 2**30.
    """
    text = os.environ.get(VARIABLE) or str(DEFAULT)
    if not text.isdecimal() or len(text) > 10 or not 1 <= int(text) <= LARGEST:
        raise ValueError(f"{VARIABLE} must be a whole number of pixels from 1 to {LARGEST}; received {text!r}")
    return int(text)


def read_file(path: str | Path) -> bytes:
    """Return the content of an image file.

    Raises:
        OSError: If it cannot be read, or if it is a folder, a pipe or a device.
        ValueError: If it has more bytes than an image of the largest allowed size.
    """
    with open(path, "rb", opener=open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a file, but a pipe or a device")
        limit = BYTES * largest_pixels()
        if status.st_size > limit:
            needed = permission(-(-status.st_size // BYTES))
            raise ValueError(f"the file has {status.st_size:,} bytes, more than the limit of {limit:,}; {needed}")
        return file.read()


def open_without_waiting(path: str, flags: int) -> int:
    """Open a file, and do not wait for another process that writes to a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_sides(content: bytes) -> Sides:
    """Return the size of an encoded image.

    Raises:
        ValueError: If it has too many pixels in all its frames, too much metadata, or no readable size.
    """
    sides = read_sides(content)
    if sides is None:
        known = any(content.startswith(start) for start in READERS)
        sides = None if known else sides_by_pillow(content)
        if sides is None:
            raise ValueError("its header has no width and height" if known else "not an image in a known format")
    if sides.metadata > METADATA:
        raise ValueError(
            f"the file has {sides.metadata:,} bytes of metadata before the picture, more than the limit of "
            f"{METADATA:,}; save it without metadata"
        )
    limit = largest_pixels()
    if sides.pixels > limit:
        raise ValueError(f"{describe(sides)}, more than the limit of {limit:,}; {permission(sides.pixels)}")
    return sides


def describe(sides: Sides) -> str:
    size = f"{sides.width} x {sides.height} pixels"
    if sides.frames > 1 or sides.total > sides.width * sides.height:
        return f"{sides.frames} frames of up to {size}, together {sides.pixels:,}"
    return f"the image has {size}, together {sides.pixels:,}"


def permission(pixels: int) -> str:
    """Return a text that says how to allow `pixels` pixels."""
    if pixels > LARGEST:
        return f"cut it into smaller images, because no setting allows more than {LARGEST:,} pixels"
    return f"if its origin is trusted and memory suffices, set the environment variable {VARIABLE}={pixels}"


def sides_by_pillow(content: bytes) -> Sides | None:
    """Return the size of an encoded image that Pillow reads from its header. None if it cannot."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=pillow_formats()) as opened:
            return Sides(opened.width, opened.height, getattr(opened, "n_frames", 1))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{error} Pillow sets this limit for rare formats; save the image as PNG") from error
    except Exception:  # noqa: BLE001  # Pillow raises many types of errors for damaged files
        return None


@functools.cache
def pillow_formats() -> tuple[str, ...]:
    """Return the formats of `FORMATS` that this version of Pillow can open."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
