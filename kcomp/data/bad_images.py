"""Find damaged images while a table of images is read, and measure pixel values of more than eight bits."""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from kcomp.data.damage import FileCheck, check_files
from kcomp.data.value_range import ValueRange, measure_range
from kcomp.system.notices import notice

OnBad = Literal["error", "drop", "warn", "ignore"]
MISSING = os.strerror(errno.ENOENT)


@dataclass(frozen=True)
class RepeatedId:
    """An id that occurs in several rows of a table that has one row for each image.

    Attributes:
        image_id: The id.
        rows: In how many rows it occurs.
        labels: Its different labels as texts. A single one if all its rows have the same label.
    """

    image_id: str
    rows: int
    labels: tuple[str, ...]


@dataclass
class TableProblems:
    """The record of rows that a training would leave out or refuse; see `keeping_damaged`.

    Attributes:
        dropped: The paths of the damaged and missing images in tables that are read with `on_bad="drop"`.
        repeated: The ids that occur in several rows by mistake; see `kcomp.data.repeated`.
    """

    dropped: set[str] = field(default_factory=set)
    repeated: list[RepeatedId] = field(default_factory=list)


_record: ContextVar[TableProblems | None] = ContextVar("table_problems", default=None)


@contextlib.contextmanager
def keeping_damaged() -> Iterator[TableProblems]:
    """Keep the rows of damaged and missing images in all tables that are read within the `with` block.

    In the block, `read_csv`, `read_folders`, `read_images` and `read_test` ignore their argument `on_bad`. Damaged and
    missing images raise no error and print no notice. Only if all images of a table are missing, FileNotFoundError is
    raised. Damaged images are ignored when the pixel values of images with more than eight bits are measured. Of an id
    that is repeated by mistake, the first row is kept, even if its rows have different labels.

    Yields:
        A `TableProblems`, which lists the images that `on_bad="drop"` would leave out, and the repeated ids.
    """
    record = TableProblems()
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)


def may_be_missing(on_bad: OnBad) -> bool:
    return on_bad == "drop" or _record.get() is not None


def current_record() -> TableProblems | None:
    """Return the record of the `keeping_damaged` block that is active, or None outside of such a block."""
    return _record.get()


def usable_rows(images: Sequence[str], on_bad: OnBad) -> tuple[np.ndarray, ValueRange | None]:
    """Return which rows of a table can be used, and the pixel range of images with more than eight bits.

    Args:
        images: The path of each row's image.
        on_bad: "error" raises ValueError if an image is damaged. "drop" leaves out the rows of damaged and missing
            images and prints a notice. "warn" keeps these rows and prints a notice. "ignore" reads no image.

    Returns:
        Two things: whether to use each row, bool of shape (rows,); and the two pixel values (low, high) that become 0
            and 255. The second is None if no image with more than eight bits a channel was read.

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
    bad = {path: check.problem for path, check in checks.items() if check.problem is not None}
    record = _record.get()
    if record is not None:
        record.dropped |= set(bad) if on_bad == "drop" else set()
    elif bad:
        text = describe_bad(bad, len(paths))
        if on_bad == "error" or (on_bad == "drop" and len(bad) == len(paths)):
            advice = 'replace the files, or leave their rows out with on_bad="drop"; kcomp check shows them'
            raise ValueError(f"{text}; {advice}")
        if on_bad == "drop":
            keep = np.array([path not in bad for path in images])
            text += f"; {int((~keep).sum())} of {len(keep)} rows are left out"
        notice(text)
    return keep, announced_range([checks[path] for path in paths if path not in bad])


def describe_bad(bad: dict[str, str], count: int) -> str:
    """Return a text about bad images. `bad` has the problem of each path, and `count` is the number of all images."""
    names = ", ".join(list(bad)[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
    missing = sum(problem == MISSING for problem in bad.values())
    kind = "damaged" if not missing else "missing" if missing == len(bad) else "damaged or missing"
    return f"{len(bad)} of {count} images are {kind}: {names} ({next(iter(bad.values()))})"


def announced_range(checks: Sequence[FileCheck]) -> ValueRange | None:
    """Return the two pixel values (low, high) that become 0 and 255, and print a notice. None without deep images.

    Deep images have more than eight bits a channel. `checks` are the results for undamaged files.
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
