"""Stand in for functions that are not written yet."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from kcomp.data.decoding import decode
from kcomp.data.tables import Table
from kcomp.measurements.facts import Facts, ImageFacts


@contextlib.contextmanager
def keeping_damaged() -> Iterator[None]:
    yield


def measure(table: Table) -> Facts:
    nan = float("nan")
    images = []
    for image in table.images:
        pixels: Any = decode(image)
        fields: list[Any] = ["", "", 0, nan, pixels.shape[1], pixels.shape[0], "", "RGB", 8, 1, nan, 1, 0.0]
        grey = [float(pixels.mean()), float(pixels.std()), *np.percentile(pixels, [1, 99]).tolist(), 1.0, 1.0]
        fields += [*grey, 1.0, 1.0, 1.0, "", str(hash(pixels.tobytes())), (0,) * 8]
        images.append(ImageFacts(*fields))
    return Facts.of(images)
