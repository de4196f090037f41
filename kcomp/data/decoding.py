"""Decode an image, and convert it to the number of channels that the network takes."""

import io

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from kcomp.data.tables import Image
from kcomp.data.value_range import ValueRange, to_eight_bits
from kcomp.image_files.check_process import deep_pixels, is_deep
from kcomp.image_files.limits import check_sides, pillow_formats, read_file
from kcomp.image_files.sides import jpeg_sides

REDUCTIONS = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
RGB_OF_BGR = {3: [2, 1, 0], 4: [2, 1, 0, 3]}


def decode(
    image: Image, size: int | None = None, value_range: ValueRange | None = None, channels: int = 3
) -> np.ndarray:
    """Decode an image and turn it upright, as its EXIF orientation says.

    Args:
        image: A path, encoded bytes, an array, or a function that returns bytes or an array.
        size: If set, a large JPEG is decoded at a half, a quarter or an eighth of its width and height. The shorter
            side is then still at least twice `size`.
        value_range: The two pixel values (low, high) that become 0 and 255, for images with more than eight bits a
            channel.
        channels: How many channels the result has; see `with_channels`.

    Returns:
        Pixels, uint8 of shape (height, width, channels): RGB for 3, RGBA for 4, grey for 1.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the content is not an image, if it has more than eight bits and `value_range` is None, or if the
            header says that it has more pixels than $KCOMP_MAX_PIXELS allows (without it, 178,956,970).
    """
    return to_eight_bits(read_pixels(image, size, channels), value_range)


def read_pixels(image: Image, size: int | None = None, channels: int = 3) -> np.ndarray:
    """Decode an image as `decode` does, but keep the type of its pixels, such as uint16.

    Return pixels of shape (height, width, channels).
    """
    if callable(image):
        image = image()
    if isinstance(image, np.ndarray):
        return with_channels(image, channels)
    encoded = image if isinstance(image, bytes) else read_file(image)
    if not encoded:
        raise ValueError("the file is empty")
    check_sides(encoded)
    if is_deep(encoded):
        pixels = deep_pixels(encoded)
        if pixels is not None:
            return with_channels(bgr_to_rgb(pixels), channels)
    if channels not in (1, 3):
        return with_channels(read_all_channels(encoded), channels)
    flag = reduction(encoded, size) if size is not None else None
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB if flag is None else flag)
    if pixels is None:
        pixels = decode_with_pillow(encoded)
    elif flag is not None:  # OpenCV decodes reduced images as BGR only
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return with_channels(pixels, channels)


def read_all_channels(encoded: bytes) -> np.ndarray:
    """Decode the bytes of an image file with all its channels. Three or four channels become RGB or RGBA."""
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot read it; return an array from a function instead, as in Table's `image`")
    return bgr_to_rgb(pixels)


def bgr_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Convert OpenCV's BGR to RGB and BGRA to RGBA. Pixels with other numbers of channels do not change."""
    order = RGB_OF_BGR.get(pixels.shape[2]) if pixels.ndim == 3 else None
    return pixels if order is None else pixels[:, :, order]


def reduction(encoded: bytes, size: int) -> int | None:
    """Return OpenCV's flag to decode a JPEG at an eighth, a quarter or a half of its width and height.

    It is the smallest of these sizes at which the shorter side has at least 2 * `size` pixels. Return None if there is
    none.
    """
    sides = jpeg_sides(encoded) if encoded.startswith(b"\xff\xd8") else None
    shorter = 0 if sides is None else min(sides.width, sides.height)
    return next((flag for factor, flag in REDUCTIONS.items() if shorter >= 2 * size * factor), None)


def decode_with_pillow(encoded: bytes) -> np.ndarray:
    try:
        with PillowImage.open(io.BytesIO(encoded), formats=pillow_formats()) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError("not an image in a known format") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # Pillow raises many types of errors for damaged files, such as SyntaxError
        raise ValueError(str(error) or type(error).__name__) from error


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Convert pixels to the number of channels that the network takes. Return shape (height, width, channels).

    For `channels=3`, grey is repeated three times, and RGBA loses its last channel. For `channels=1`, RGB and RGBA
    become their luminance (ITU-R BT.601). For other values, the image must already have this number of channels.
    """
    if pixels.dtype.kind not in "uif" or pixels.ndim not in (2, 3):
        raise ValueError(f"pixels must be numbers of 2 or 3 dimensions; received {pixels.dtype} of {pixels.shape}")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    count = pixels.shape[2]
    if count == channels:
        return pixels
    if channels == 3 and count in (1, 4):
        return np.repeat(pixels, 3, axis=2) if count == 1 else pixels[:, :, :3]
    if channels == 1 and count in (3, 4):
        grey = pixels[:, :, :3] @ np.array([0.299, 0.587, 0.114])
        return (grey if pixels.dtype.kind == "f" else np.rint(grey)).astype(pixels.dtype)[:, :, None]
    allowed = {1: "1, 3 or 4", 3: "1, 3 or 4"}.get(channels, str(channels))
    raise ValueError(f"pixels must have {allowed} channels; received shape {pixels.shape}")
