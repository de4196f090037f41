"""Scale pixels of more than eight bits to 0..255. One range of pixel values is used for all images of a table."""

from collections.abc import Sequence

import numpy as np

from kcomp.data.damage import FileCheck

ValueRange = tuple[float, float]


def measure_range(checks: Sequence[FileCheck]) -> ValueRange | None:
    """Return two pixel values (low, high), to be scaled to 0 and 255, for images with more than eight bits a channel.

    Return None if there are no such images. If all pixels are whole numbers, the values are 0 and 2**n - 1 with the
    smallest n that covers all pixels, because cameras and scanners use such ranges. If pixels are floats, the values
    are 0 and 1, or 0 and 255, if one of these covers all pixels; otherwise the lowest and the highest pixel value.
    """
    deep = [check for check in checks if check.kind]
    if not deep:
        return None
    low, high = min(check.low for check in deep), max(check.high for check in deep)
    if low >= 0 and all("int" in check.kind for check in deep):
        return 0.0, float(2 ** max(int(high).bit_length(), 1) - 1)
    for limit in (1.0, 255.0):
        if low >= 0 and high <= limit:
            return 0.0, limit
    return low, high if high > low else low + 1.0


def check_range(value_range: ValueRange | None) -> None:
    if value_range is not None and not value_range[0] < value_range[1]:
        raise ValueError(f"`value_range` must be a low and a higher number, or None; received {value_range}")


def to_eight_bits(pixels: np.ndarray, value_range: ValueRange | None) -> np.ndarray:
    """Scale pixels linearly from `value_range` to uint8 0..255. uint8 pixels do not change.

    Values outside of the range are clipped.

    Raises:
        ValueError: If the pixels are not uint8 and `value_range` is None.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if value_range is None:
        raise ValueError(
            f"{pixels.dtype} pixels need a range, such as data.Images(..., value_range=(0, 4095)); these are from "
            f"{pixels.min()} to {pixels.max()}"
        )
    low, high = value_range
    scaled = (pixels.astype(np.float32) - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
