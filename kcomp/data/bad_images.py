"""Find damaged images while a table of images is read, and measure pixel values of more than eight bits."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from kcomp.data.damage import FileCheck, check_files
from kcomp.data.value_range import ValueRange, measure_range
from kcomp.system.notices import notice

OnBad = Literal["error", "drop", "warn", "ignore"]


def usable_rows(images: Sequence[str], on_bad: OnBad) -> tuple[np.ndarray, ValueRange | None]:
    """Check image files for damage, and measure the pixel values of images with more than eight bits a channel.

    Args:
        images: Paths of the images.
        on_bad: "error" raises ValueError if an image is damaged. "drop" leaves out the rows of damaged images and
            prints a notice. "warn" keeps these rows and prints a notice. "ignore" reads no image and measures no range.

    Returns:
        Two things: whether to use each row, bool of shape (rows,); and the pixel values (low, high) that become 0 and
        255. The latter are None if no image has more than eight bits a channel, or if no image was read.

    Raises:
        ValueError: If an image is damaged and `on_bad` is "error", all images are damaged and `on_bad` is "drop", or
            `on_bad` is unknown.
    """
    if on_bad not in get_args(OnBad):
        raise ValueError(f"`on_bad` must be one of {', '.join(get_args(OnBad))}; received {on_bad!r}")
    keep = np.ones(len(images), bool)
    if on_bad == "ignore":
        return keep, None
    paths = list(dict.fromkeys(images))
    checks = dict(zip(paths, check_files(paths), strict=True))
    bad = {path: check.problem for path, check in checks.items() if check.problem}
    if bad:
        names = ", ".join(list(bad)[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        text = f"{len(bad)} of {len(paths)} images are damaged: {names} ({next(iter(bad.values()))})"
        if on_bad == "error" or (on_bad == "drop" and len(bad) == len(paths)):
            raise ValueError(f'{text}; replace the files, or leave their rows out with on_bad="drop"')
        if on_bad == "drop":
            keep = np.array([path not in bad for path in images])
            text += f"; {int((~keep).sum())} of {len(keep)} rows are left out"
        notice(text)
    return keep, announced_range([checks[path] for path in paths if path not in bad])


def announced_range(checks: Sequence[FileCheck]) -> ValueRange | None:
    """Return the pixel values (low, high) that become 0 and 255, and print a notice of these values.

    Only images with more than eight bits a channel count. Without such images, return None. `checks` are the results
    for undamaged files.
    """
    value_range = measure_range(checks)
    deep = [check for check in checks if check.kind]
    if value_range is None or not deep:
        return None
    low, high = min(check.low for check in deep), max(check.high for check in deep)
    notice(
        f"{len(deep)} of {len(checks)} images have more than 8 bits: values from {low:g} to {high:g}; "
        f"{value_range[0]:g} to {value_range[1]:g} become 0 to 255; data.Images(..., value_range=...) sets others"
    )
    return value_range
