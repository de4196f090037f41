"""Properties of image files that say little about what an image shows, such as size and file ending."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np

from kcomp.measurements.facts import Facts

LAST_NUMBER = re.compile(r"(\d{1,15})\D*$")

# trace: A property of the file that leaves traces in the pixels, or comes with them: a network can learn it.
# content: What the image shows may explain it.
# order: No network sees it.
Role = Literal["trace", "content", "order"]


@dataclass(frozen=True)
class Property:
    """A property of image files, as one number for each image.

    Attributes:
        name: The name on the page.
        role: "trace" if the property leaves traces in the pixels, such as the JPEG quantization. "content" if it may
            depend on what the image shows, such as the colour. "order" if no network sees it, such as the position in
            the table.
        values: The values, float64 (images,). NaN if an image has none.
    """

    name: str
    role: Role
    values: np.ndarray

    @property
    def is_constant(self) -> bool:
        known = self.values[~np.isnan(self.values)]
        missing = len(known) < len(self.values)
        return len(known) == 0 or (not missing and bool((known == known[0]).all()))


def properties_of(facts: Facts, ids: Sequence[str]) -> list[Property]:
    """Return the properties of some images. If an image has no file, its id replaces the file name."""
    width, height = facts.width.astype(np.float64), facts.height.astype(np.float64)
    no_size = (width <= 0) | (height <= 0)
    pixels = np.where(no_size, np.nan, width * height)
    no_bytes = facts.size_bytes <= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        aspect = np.where(no_size, np.nan, width / height)
        density = np.where(no_bytes, np.nan, facts.size_bytes) / pixels
    names = [path or image_id for path, image_id in zip(facts.path, ids, strict=True)]
    red, green, blue = (np.asarray(colour, np.float64) for colour in (facts.red, facts.green, facts.blue))
    return [
        Property("size in pixels", "trace", pixels),
        Property("aspect (width / height)", "trace", aspect),
        Property("file size in bytes", "content", np.where(no_bytes, np.nan, facts.size_bytes.astype(np.float64))),
        Property("bytes for each pixel", "content", density),
        Property("JPEG quantization", "trace", np.asarray(facts.quantization, np.float64)),
        Property("ending", "trace", category_codes(names, ending)),
        Property("channels", "trace", category_codes(facts.mode.tolist(), str)),
        Property("EXIF time", "trace", np.asarray(facts.photo_time, np.float64)),
        Property("brightness", "content", np.asarray(facts.brightness, np.float64)),
        Property("colour, red against blue", "content", red - blue),
        Property("colour, green against red and blue", "content", green - (red + blue) / 2),
        Property("number in the file name", "order", np.array([last_number(name) for name in names])),
        Property("position in the table", "order", np.arange(len(ids), dtype=np.float64)),
    ]


def category_codes(texts: Sequence[str], key: Callable[[str], str]) -> np.ndarray:
    """Return numbers for texts, float64 (texts,): the position of the text's key among the sorted distinct keys."""
    keys = [key(text) for text in texts]
    numbers = {name: number for number, name in enumerate(sorted(set(keys)))}
    return np.array([numbers[name] for name in keys], np.float64)


def ending(name: str) -> str:
    return PurePath(name).suffix.lower()


def last_number(name: str) -> float:
    """Return the last number in a file name, without the file ending. NaN if there is none."""
    match = LAST_NUMBER.search(PurePath(name).stem)
    return float(match[1]) if match else np.nan
