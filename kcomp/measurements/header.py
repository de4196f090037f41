"""Read the header of an image file without decoding the image."""

import calendar
import contextlib
import io
import math
import struct
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from kcomp.image_files.limits import check_sides, pillow_formats

ORIENTATION, BITS, TIME, EXIF, PHOTO_TIME = 0x0112, 0x0102, 0x0132, 0x8769, 0x9003  # tags of TIFF and EXIF
BITS_OF_MODE = {"1": 1, "I": 32, "F": 32}
ERRORS = (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error, PillowImage.DecompressionBombError)
PNG = b"\x89PNG"


@dataclass(frozen=True)
class Header:
    """The content of an image file's header. The attributes are those of `ImageFacts`."""

    width: int = 0
    height: int = 0
    format: str = ""
    mode: str = ""
    bits: int = 0
    orientation: int = 1
    photo_time: float = math.nan
    frames: int = 1
    quantization: float = 0.0


def read_header(content: bytes) -> Header:
    """Read the header of an encoded image with Pillow. Return an empty header if Pillow cannot read the image.

    Width and height are those of the upright image.
    """
    try:
        check_sides(content)
        with PillowImage.open(io.BytesIO(content), formats=pillow_formats()) as opened:
            exif = exif_of(opened)
            orientation = exif.get(ORIENTATION, 1)
            orientation = int(orientation) if orientation in range(1, 9) else 1
            width, height = opened.size if orientation < 5 else opened.size[::-1]
            return Header(
                width=width,
                height=height,
                format="JPEG" if opened.format == "MPO" else opened.format or "",
                mode=opened.mode,
                bits=bits_of(opened, content),
                orientation=orientation,
                photo_time=photo_time_of(exif),
                frames=1 if opened.format == "MPO" else frames_of(opened),
                quantization=quantization_of(opened),
            )
    except ERRORS:
        return Header()


def exif_of(opened: Any) -> Any:
    """Return the EXIF data of an opened Pillow image, or an empty dict."""
    if opened.format == "PNG" and not {"exif", "Raw profile type exif"} & set(opened.info):
        return {}  # Pillow would decode the whole image to search behind the pixels
    with contextlib.suppress(*ERRORS):
        return opened.getexif()
    return {}


def photo_time_of(exif: Any) -> float:
    """Return the EXIF time of a photograph in seconds since 1970, read as UTC. NaN if there is none."""
    with contextlib.suppress(*ERRORS):
        text = (exif.get_ifd(EXIF).get(PHOTO_TIME) if exif else None) or exif.get(TIME)
        return float(calendar.timegm(time.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S")))
    return math.nan


def bits_of(opened: Any, content: bytes) -> int:
    """Return the number of bits of each channel. An image with a palette of colours has 8."""
    if content.startswith(PNG) and len(content) > 24 and opened.mode != "P":
        return content[24]
    if opened.format == "TIFF":
        return max(int(bits) for bits in opened.tag_v2.get(BITS, (BITS_OF_MODE.get(opened.mode, 8),)))
    return 16 if ";16" in opened.mode else BITS_OF_MODE.get(opened.mode, 8)


def frames_of(opened: Any) -> int:
    with contextlib.suppress(*ERRORS):
        return int(getattr(opened, "n_frames", 1))
    return 1


def quantization_of(opened: Any) -> float:
    """Return the mean of the luminance quantization table of a JPEG. Return 0 for other formats."""
    tables = getattr(opened, "quantization", None)
    if not isinstance(tables, dict) or not tables:
        return 0.0
    return float(np.mean(tables[min(tables)]))
