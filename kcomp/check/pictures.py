"""Thumbnails of images for the page."""

from collections.abc import Sequence

from kcomp.data.tables import Image
from kcomp.data.value_range import ValueRange
from kcomp.measurements.content import read_content, rgb_pixels
from kcomp.report.page import Picture
from kcomp.report.thumbnail import thumbnail


def picture_of(image: Image, value_range: ValueRange | None, lines: Sequence[str]) -> Picture | None:
    """Return a thumbnail of an image, or None if it cannot be decoded.

    Args:
        image: The image.
        value_range: The pixel values that become 0 and 255 if the image has more than 8 bits; see `rgb_pixels`.
        lines: The lines of text below the thumbnail.
    """
    try:
        pixels = rgb_pixels(read_content(image).image, value_range)
    except Exception:  # noqa: BLE001  # decoders and the functions of images raise many types of errors
        return None
    return Picture(thumbnail(pixels), lines)
