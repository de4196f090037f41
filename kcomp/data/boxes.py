"""Crop images to bounding boxes, which stand in four columns of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from kcomp.data.decoding import read_pixels
from kcomp.data.images import identity_of
from kcomp.data.tables import Image

CORNER_NAMES = ("xmax", "x_max", "x2", "x1", "right")
SIZE_NAMES = ("w", "width", "bbox_w", "bw", "box_width")

Form = Literal["corners", "size"]
Unit = Literal["pixels", "shares"]


@dataclass(frozen=True)
class Box:
    """Four columns of a table that contain a bounding box, and the meaning of the four numbers.

    Args:
        columns: Four columns. The first two are the left and the upper edge. The last two are the right and the lower
            edge ("corners"), or width and height ("size").
        form: "corners" or "size". None derives it from the name of the third column, such as xmax or width.
        unit: "pixels", or "shares" of the image's width and height, from 0 to 1. None means shares if no value exceeds
            1.
        margin: How much to add on each side, as a share of the box's width and height, from 0.

    Raises:
        ValueError: If there are not four columns, an argument is not one of the allowed values, or `form` is None and
            the third column has none of the known names.

    Examples:
        >>> from kcomp import data
        >>> data.Box(("xmin", "ymin", "xmax", "ymax"), margin=0.1).form
        'corners'
    """

    columns: Sequence[str]
    form: Form | None = None
    unit: Unit | None = None
    margin: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.columns, str) or len(self.columns) != 4:
            raise ValueError(f"a box needs four columns; received {self.columns!r}")
        if self.form not in (None, "corners", "size"):
            raise ValueError(f"the form of a box must be 'corners' or 'size'; received {self.form!r}")
        if self.unit not in (None, "pixels", "shares"):
            raise ValueError(f"the unit of a box must be 'pixels' or 'shares'; received {self.unit!r}")
        if not self.margin >= 0:
            raise ValueError(f"the margin of a box must be at least 0; received {self.margin}")
        if self.form is None:
            object.__setattr__(self, "form", form_of(self.columns))


def form_of(columns: Sequence[str]) -> Form:
    third = columns[2].lower()
    if third in CORNER_NAMES:
        return "corners"
    if third in SIZE_NAMES:
        return "size"
    raise ValueError(
        f"say what the columns of the box are: data.Box({tuple(columns)}, form='corners') for right and lower edge, "
        "form='size' for width and height"
    )


@dataclass(frozen=True)
class Crop:
    """An image cropped to a bounding box. A call returns the cropped pixels.

    Attributes:
        image: The whole image.
        edges: The left, upper, right and lower edge of the box.
        shares: Whether the edges are shares of the image's width and height. If False, the edges are in pixels.
    """

    image: Image
    edges: tuple[float, float, float, float]
    shares: bool

    @property
    def identity(self) -> str | None:
        """The text that identifies the crop in the cache of decoded images. None if the image is not cached."""
        whole = identity_of(self.image)
        return None if whole is None else f"{whole} box {self.edges} {self.shares}"

    def __call__(self) -> np.ndarray:
        """Return the pixels inside the box, shape (height, width, 3).

        Raises:
            ValueError: If no pixel of the image is in the box.
        """
        pixels = read_pixels(self.image)
        height, width = pixels.shape[:2]
        left, upper, right, lower = self.edges
        if self.shares:
            left, upper, right, lower = left * width, upper * height, right * width, lower * height
        rows = slice(max(int(np.floor(upper)), 0), min(int(np.ceil(lower)), height))
        columns = slice(max(int(np.floor(left)), 0), min(int(np.ceil(right)), width))
        cut = pixels[rows, columns]
        if not cut.size:
            raise ValueError(f"the box {self.edges} lies outside of the image of {height} x {width} pixels")
        return cut


def cut_images(images: Sequence[Image], source: pd.DataFrame, box: Box | None, ids: pd.Series) -> list[Any]:
    """Return each image as a `Crop` to its bounding box. If `box` is None, return the images unchanged.

    Args:
        images: The images.
        source: A table with one row for each image.
        box: Names four columns of `source`.
        ids: The image ids, for error messages.

    Raises:
        ValueError: If a box is not four numbers, or has no width or height.
    """
    if box is None:
        return list(images)
    values = source[list(box.columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    shares = box.unit == "shares" or (box.unit is None and not np.nanmax(values, initial=0) > 1)
    edges = values.copy()
    if box.form == "size":
        edges[:, 2:] += values[:, :2]
    sizes = edges[:, 2:] - edges[:, :2]
    bad = ~(np.isfinite(edges).all(1) & (sizes > 0).all(1))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"each box must be four numbers with a width and a height above 0; {int(bad.sum())} rows are not, first "
            f"{ids.iloc[first]!r} with {source[list(box.columns)].iloc[first].tolist()}, read as {box.form}"
        )
    edges[:, :2] -= box.margin * sizes
    edges[:, 2:] += box.margin * sizes
    return [
        Crop(image, (left, upper, right, lower), shares)
        for image, (left, upper, right, lower) in zip(images, edges.tolist(), strict=True)
    ]
