"""Rules that find images of unusual formats. docs/internals/check.md describes each rule."""

import io
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from kcomp.check.files.rules import OddImages
from kcomp.check.pooled import PooledRows
from kcomp.image_files.limits import check_sides, pillow_formats
from kcomp.measurements.content import read_content
from kcomp.report.finding import Severity

ENDINGS = {
    "JPEG": {"jpg", "jpeg", "jpe", "jfif"},
    "PNG": {"png", "apng"},
    "TIFF": {"tif", "tiff"},
    "GIF": {"gif"},
    "BMP": {"bmp", "dib"},
    "WEBP": {"webp"},
}
KNOWN_ENDINGS = frozenset().union(*ENDINGS.values())
ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
GREY = frozenset({"L", "1", "I", "F"})
DECODED = 20  # at most this many images are decoded to see whether they have transparent pixels


def odd_formats(pooled: PooledRows) -> Iterator[OddImages]:
    """Yield the images of unusual formats, one `OddImages` for each kind of problem."""
    facts = pooled.facts
    endings = [PurePath(path).suffix[1:].lower() for path in facts.path]
    wrong = [
        ending in KNOWN_ENDINGS and ending not in ENDINGS.get(format, KNOWN_ENDINGS)
        for ending, format in zip(endings, facts.format, strict=True)
    ]
    sentence = "{has} a file ending that does not fit the content; kcomp reads the content"
    yield from odd_where(
        "wrong-ending", "warning", wrong, sentence, lambda row: f"{facts.format[row]} as .{endings[row]}"
    )
    sentence = "{is} stored sideways or mirrored; kcomp turns the pixels upright, as the EXIF orientation says"
    yield from odd_where(
        "rotated", "note", facts.orientation != 1, sentence, lambda row: f"orientation {facts.orientation[row]}"
    )
    sentence = "{has} several frames or pages; only the first one is used"
    yield from odd_where("animated", "warning", facts.frames > 1, sentence, lambda row: f"{facts.frames[row]} frames")
    yield from odd_modes(pooled)
    deep = facts.bits > 8
    known = facts.bits > 0
    if deep.any() and (known & ~deep).any():
        few = deep if deep.sum() <= (known & ~deep).sum() else known & ~deep
        sentence = "{has} another number of bits than the other images; only images above 8 bits are scaled to 0..255"
        yield from odd_where("odd-depth", "warning", few, sentence, lambda row: f"{facts.bits[row]} bits")


def odd_modes(pooled: PooledRows) -> Iterator[OddImages]:
    """Yield the images whose channels differ from those of most images, such as grey images among RGB."""
    modes = np.array([mode_family(mode) for mode in pooled.facts.mode], dtype=object)
    names, counts = np.unique(modes[modes != ""].astype(str), return_counts=True)
    if len(names) < 2:
        return
    usual = names[counts.argmax()]
    sentences = {
        "CMYK": "{is} for printing (CMYK), unlike the others; other programs may convert the colours otherwise",
        "grey": "{is} grey, unlike the others; grey becomes three equal channels",
        "palette": "{has} a palette of colours, unlike the others; kcomp converts it without loss",
        "RGB": f"{{is}} RGB, unlike the others, which are {usual}",
    }
    for name, sentence in sentences.items():
        if name in names and name != usual:
            severity: Severity = "warning" if name == "CMYK" else "note"
            mask = modes == name
            yield from odd_where("odd-mode", severity, mask, sentence, lambda row: f"mode {pooled.facts.mode[row]}")
    if usual != "alpha" and "alpha" in names:
        rows = np.flatnonzero(modes == "alpha")
        transparent = any(has_transparency(pooled, row) for row in rows[:DECODED])
        sentence = "{has} an alpha channel, unlike the others; kcomp leaves it out, "
        sentence += "so that transparent pixels show the colour below" if transparent else "and it is opaque"
        severity = "warning" if transparent else "note"
        yield from odd_where(
            "odd-mode", severity, modes == "alpha", sentence, lambda row: f"mode {pooled.facts.mode[row]}"
        )


def mode_family(mode: str) -> str:
    """Return the family of a Pillow mode, such as "RGB", "grey" or "alpha"."""
    if mode in ALPHA:
        return "alpha"
    if mode in GREY or mode.startswith("I;16"):
        return "grey"
    return "palette" if mode == "P" else mode


def has_transparency(pooled: PooledRows, row: int) -> bool:
    try:
        content = read_content(pooled.images[row])
        if not content.encoded:
            return isinstance(content.image, np.ndarray) and content.image[..., -1].min() < 255
        check_sides(content.encoded)
        with PillowImage.open(io.BytesIO(content.encoded), formats=pillow_formats()) as opened:
            return bool(np.asarray(opened.getchannel("A")).min() < 255)
    except Exception:  # noqa: BLE001  # decoders and the functions of images raise many types of errors
        return False


def odd_where(
    kind: str, severity: Severity, mask: np.ndarray | list[bool], sentence: str, text: Callable[[Any], str]
) -> Iterator[OddImages]:
    """Yield one `OddImages` with the images at which `mask` is True. Yield nothing if there are none.

    `text` takes the position of an image, and returns the text about this image.
    """
    rows = np.flatnonzero(mask)
    if len(rows):
        yield OddImages(kind, severity, rows, sentence, [text(row) for row in rows])
