"""Compute one checksum of all images of a table, so that two runs can tell whether an image changed."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kcomp.data.tables import Image, Table
from kcomp.measurements.content import hash_of, read_content

THREADS = 4


def images_checksum(tables: Iterable[Table]) -> str:
    """Return a hash of the ids and contents of all images in these tables, as 32 hexadecimal digits.

    The order of the rows and the paths of the files do not change the hash. Files are not decoded.

    Raises:
        OSError: If a file cannot be read. The function of an image may raise other errors.
    """
    ids, images = [], []
    for table in tables:
        ids += table.ids
        images += list(table.images)
    with ThreadPoolExecutor(THREADS) as pool:
        hashes = list(pool.map(image_checksum, images))
    return hash_of(
        "\n".join(sorted(f"{image_id}\0{each}" for image_id, each in zip(ids, hashes, strict=True))).encode()
    )


def image_checksum(image: Image) -> str:
    """Return a hash of the encoded bytes of an image, or of its pixels if it is an array."""
    content = read_content(image)
    if content.encoded:
        return hash_of(content.encoded, content.part.encode())
    pixels = np.ascontiguousarray(content.image)
    return hash_of(f"{pixels.shape} {pixels.dtype}".encode(), pixels.data.cast("B"), content.part.encode())
