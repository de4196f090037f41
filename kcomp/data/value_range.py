"""Scale pixels of more than eight bits to 0..255, with one range of pixel values for all images of a table."""

from collections.abc import Sequence

import numpy as np

from kcomp.data.damage import FileCheck

ValueRange = tuple[float, float]


def measure_range(checks: Sequence[FileCheck]) -> ValueRange | None:
    """Return the two pixel values (low, high) that become 0 and 255, for images with more than eight bits a channel.

    For whole numbers, they are 0 and the smallest 2**n - 1 that covers all pixels. For floats, they are 0 and 1, 0 and
    255, or the lowest and the highest pixel value. Return None if there are no such images.
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
