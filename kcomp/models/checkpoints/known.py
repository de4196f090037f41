"""The checkpoints of timm that can be converted, from networks.csv."""

import csv
import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("networks.csv")


@dataclass(frozen=True)
class Checkpoint:
    """What is known about a checkpoint of timm without reading its file.

    Attributes:
        name: timm's name, such as "convnext_tiny.fb_in1k". The text after the dot says how it was trained.
        family: The package of zeromodels with the network and the conversion, such as "convnext".
        architecture: The name that this package has for the sizes of the network, such as "convnext_tiny".
        heads: The names that timm has for the last layers, whose outputs are the logits.
        size: Height and width in pixels of the images that the network was trained for.
        mean: What was subtracted from red, green and blue, with pixels in 0..1.
        std: What the differences were divided by.
        crop: How timm prepares images: it scales the shorter side to size / crop, then cuts out the centre.
        interpolation: How timm scales images: "bicubic" or "bilinear".
    """

    name: str
    family: str
    architecture: str
    heads: tuple[str, ...]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float
    interpolation: str


@cache
def checkpoints() -> dict[str, Checkpoint]:
    """Return all known checkpoints by name."""
    with TABLE.open(newline="") as file:
        return {row["name"]: read_row(row) for row in csv.DictReader(file)}


def read_row(row: dict[str, str]) -> Checkpoint:
    height, width = (int(side) for side in row["size"].split())
    return Checkpoint(
        row["name"],
        row["family"],
        row["architecture"],
        tuple(row["heads"].split()),
        (height, width),
        tuple(float(value) for value in row["mean"].split()),
        tuple(float(value) for value in row["std"].split()),
        float(row["crop"]),
        row["interpolation"],
    )


def known_checkpoint(name: str) -> Checkpoint:
    """Return the checkpoint of this name. Raise ValueError with the nearest names if there is none."""
    known = checkpoints()
    if name in known:
        return known[name]
    same = [other for other in known if other.split(".")[0] == name.split(".")[0]]
    near = same or difflib.get_close_matches(name, known, 4, 0.5) or list(known)[:4]
    raise ValueError(f"there is no conversion for the timm checkpoint {name!r}; choose from {', '.join(near[:6])}")
