"""Measure the images of a table with several threads. Measurements are cached on disk."""

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import cv2
import PIL

from kcomp.data.damage import check_files, run_checks
from kcomp.data.tables import Image, Table
from kcomp.data.value_range import ValueRange
from kcomp.measurements.content import cache_identity, file_of, read_content
from kcomp.measurements.facts import Facts, ImageFacts
from kcomp.measurements.one_image import measure_image
from kcomp.measurements.store import StoredFacts
from kcomp.system.cache import cache_folder

Progress = Callable[[int, int], None]
BLOCK = 256  # images measured between two writes of the cache
THREADS = 16  # at most


def measure(table: Table, *, pixels: bool = True, progress: Progress | None = None) -> Facts:
    """Measure the images of a table, in row order. The measurements are cached on disk until a file changes.

    Args:
        table: Labelled or unlabelled rows. Images with more than eight bits are scaled from `table.value_range`.
        pixels: Whether to decode the images. If False, only the files and their headers are read, and all measurements
            of pixels are NaN, 0 or empty.
        progress: Called with the number of measured images and the number of all images.
    """
    return measure_images(table.images, table.value_range, pixels=pixels, progress=progress)


def measure_images(
    images: Sequence[Image],
    value_range: ValueRange | None = None,
    *,
    pixels: bool = True,
    progress: Progress | None = None,
) -> Facts:
    """Measure images: paths, encoded bytes, arrays, or functions that return bytes or an array.

    An image that is damaged or cannot be read has a text in `problem`, and its pixels are not measured. For a crop,
    size and pixels are those of the box. `measure` describes the other arguments.
    """
    paths = list(dict.fromkeys(filter(None, map(file_of, images))))
    problems = {path: check.problem for path, check in zip(paths, check_files(paths), strict=True) if check.problem}
    facts: list[ImageFacts] = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS), thread_name_prefix="measure") as pool:
        measurer = ImageMeasurer(value_range, pixels, problems, pool)
        for start in range(0, len(images), BLOCK):
            facts += measurer.measure_block(images[start : start + BLOCK])
            if progress is not None:
                progress(len(facts), len(images))
    return Facts.of(facts)


@dataclass(frozen=True)
class ImageMeasurer:
    """Measures blocks of images in threads, and caches the measurements.

    Attributes:
        value_range: The two pixel values (low, high) that become 0 and 255, for images with more than eight bits.
        pixels: Whether to decode the images.
        problems: What is damaged in each damaged file, by path.
        pool: The threads.
    """

    value_range: ValueRange | None
    pixels: bool
    problems: dict[str, str]
    pool: ThreadPoolExecutor

    def measure_block(self, images: Sequence[Image]) -> list[ImageFacts]:
        """Return the measurements of each image. Read them from the cache if possible."""
        store = StoredFacts(cache_folder() / "facts.sqlite")
        settings = f"{SETTINGS} {imagehash_version()} {self.value_range} {self.pixels}"
        keys = list(self.pool.map(lambda image: cache_key(image, settings), images))
        names = [key or f"row {row}" for row, key in enumerate(keys)]
        known = store.get([key for key in keys if key])
        unknown = {name: image for name, image in zip(names, images, strict=True) if name not in known}
        measured = dict(zip(unknown, self.measure_unknown(list(unknown.values())), strict=True))
        store.add({key: measured[key] for key in keys if key in measured and was_read(measured[key])})
        known |= measured
        return [self.with_current_file(known[name], image) for name, image in zip(names, images, strict=True)]

    def measure_unknown(self, images: Sequence[Image]) -> Iterable[ImageFacts]:
        problems = [self.problems.get(file_of(image), "") for image in images]
        if self.pixels:
            loose = [row for row, image in enumerate(images) if not file_of(image)]
            for row, problem in zip(loose, self.find_damage_in_memory([images[row] for row in loose]), strict=True):
                problems[row] = problem
        return self.pool.map(
            lambda image, problem: measure_image(image, self.value_range, problem, pixels=self.pixels), images, problems
        )

    def find_damage_in_memory(self, images: Sequence[Image]) -> list[str]:
        """Return what is damaged in each image that is not a file, or "" for a good image.

        The images are written to temporary files, and a child process checks these files.
        """
        with tempfile.TemporaryDirectory() as folder:
            paths = [f"{folder}/{row}" for row in range(len(images))]
            written = list(self.pool.map(write_content, images, paths))
            paths = [path for path, is_written in zip(paths, written, strict=True) if is_written]
            checks = iter(run_checks(paths) if paths else ())
            return [next(checks).problem or "" if is_written else "" for is_written in written]

    def with_current_file(self, facts: ImageFacts, image: Image) -> ImageFacts:
        """Return measurements from the cache, with the current path of the image and the damage of its file."""
        path = file_of(image)
        return replace(facts, path=path, problem=self.problems.get(path) or facts.problem)


def write_content(image: Image, path: str) -> bool:
    """Write the encoded bytes of an image to a file. Return whether bytes were written."""
    try:
        encoded = read_content(image).encoded
        return bool(encoded) and Path(path).write_bytes(encoded) > 0
    except Exception:  # noqa: BLE001  # the function of an image may raise anything; measure_image reports it
        return False


def was_read(facts: ImageFacts) -> bool:
    return bool(facts.bytes_hash or facts.pixels_hash)


def cache_key(image: Image, settings: str) -> str | None:
    identity = cache_identity(image)
    if identity is None:
        return None
    return hashlib.blake2b(f"{settings} {identity}".encode(errors="surrogatepass"), digest_size=16).hexdigest()


SETTINGS = f"2 {cv2.__version__} {PIL.__version__}"


def imagehash_version() -> str:
    return version("imagehash") if importlib.util.find_spec("imagehash") else "without imagehash"
