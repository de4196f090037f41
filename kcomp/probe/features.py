"""Compute features of images with a network that is not trained, and cache them on disk."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from kcomp.data.batches import ahead, stack
from kcomp.data.tables import Image, Table
from kcomp.prediction.forward import Forward, compile_forward
from kcomp.probe.frozen_network import BATCH, FrozenNetwork, choose_network
from kcomp.recipe import Loaded
from kcomp.training.frozen.features import Features
from kcomp.training.frozen.keys import features_key, identity

DIMENSIONS = 256
SAMPLE = 2000  # rows that the projection is fitted to
BLOCK = 256  # rows that are projected at once

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of the images of several tables, from one network and with one projection.

    Attributes:
        rows: The features of each table, float32 (rows, dimensions). Rows whose image cannot be read are NaN.
        network: One sentence that says which network computed the features.
        pretrained: Whether the network has pretrained weights.
        computed: The number of images whose features were not cached before.
    """

    rows: tuple[np.ndarray, ...]
    network: str
    pretrained: bool
    computed: int


def frozen_features(
    loaded: Loaded | None, tables: Sequence[Table], *, progress: Progress = lambda finished, total: None
) -> FrozenFeatures:
    """Compute features of the images of several tables with a frozen network.

    The outputs of the network are averaged over the positions in an image, and projected to at most 256 principal
    components.

    Args:
        loaded: The recipe, or None for a data set without a recipe.
        tables: The tables. The first has the labelled rows, and the second may have test rows.
        progress: Called after each batch with the number of finished images and the number of all images.

    Raises:
        NetworkError: If the recipe cannot build its network.
        ModuleNotFoundError: If there is no recipe and the ImageNet weights are not installed.
    """
    chosen = choose_network(loaded, tables[0])
    total = sum(map(len, tables))
    caches: list[CachedTable] = []
    for table in tables:
        before = sum(cache.count for cache in caches)
        caches.append(fill_cache(chosen, table, partial(report, progress, before, total)))
    projection = fit_projection(caches, chosen.parts)
    rows = tuple(cache.project(projection) for cache in caches)
    return FrozenFeatures(rows, chosen.description, chosen.pretrained, sum(cache.computed for cache in caches))


def report(progress: Progress, before: int, total: int, finished: int) -> None:
    progress(before + finished, total)


@dataclass(frozen=True)
class Projection:
    """A linear projection of standardised features to principal components.

    Attributes:
        mean: Mean of each feature, (dimensions,).
        scale: Standard deviation of each feature, times the square root of the number of features from the same layer,
            (dimensions,).
        components: The principal components, (dimensions, components).
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.mean) / self.scale) @ self.components


@dataclass(frozen=True)
class CachedTable:
    """The cached features of a table, for the images that can be read.

    Attributes:
        count: Number of rows of the table.
        readable: Positions of the rows with features, in ascending order.
        features: The cache of all rows whose file exists. None if there are no such rows.
        positions: For each position in `readable`, the position of the row in `features`.
        computed: The number of images whose features were not cached before.
    """

    count: int
    readable: np.ndarray
    features: Features | None
    positions: np.ndarray
    computed: int

    def read(self, index: int) -> np.ndarray:
        """Return the features of the table row `readable[index]`, float32 (dimensions,)."""
        assert self.features is not None  # it has rows
        return self.features.get(int(self.positions[index]), 0)

    def project(self, projection: Projection) -> np.ndarray:
        """Return the projected features of all rows, float32 (rows, components). Unreadable rows are NaN."""
        values = np.full((self.count, projection.components.shape[1]), np.nan, np.float32)
        for start in range(0, len(self.readable), BLOCK):
            indices = range(start, min(start + BLOCK, len(self.readable)))
            values[self.readable[indices]] = projection(np.stack([self.read(index) for index in indices]))
        return values


def fill_cache(chosen: FrozenNetwork, table: Table, progress: Callable[[int], None]) -> CachedTable:
    """Compute the features of a table that are not cached yet, and return the cache with all features.

    `progress` is called with the number of finished images.
    """
    present = np.flatnonzero([is_present(image) for image in table.images])
    if not len(present):
        return CachedTable(len(table), present, None, present, 0)
    batches = chosen.batches(table.rows(present))
    key = features_key(chosen.network, batches, chosen.fingerprint)
    features = Features(batches, chosen.network.output_shape[1:], key, memory_bytes=0)
    top = Features(
        batches, chosen.top.output_shape[1:], features_key(chosen.top, batches, chosen.fingerprint), memory_bytes=0
    )
    cached = list(ahead(features.find, ((row, 0) for row in range(len(present))), batches.workers))
    missing = np.flatnonzero(~np.array(cached))
    readable = np.ones(len(present), bool)
    finished = len(table) - len(missing)
    progress(finished)
    for stored, unreadable in compute((features, top), compile_forward(chosen.network), missing.tolist()):
        readable[unreadable] = False
        finished += len(stored) + len(unreadable)
        progress(finished)
    return CachedTable(len(table), present[readable], features, np.flatnonzero(readable), int(readable[missing].sum()))


def compute(
    caches: tuple[Features, Features], forward: Forward, rows: Sequence[int]
) -> Iterator[tuple[list[int], list[int]]]:
    """Compute the features of some rows in batches, and store them.

    Yield two lists for each batch: the rows that were stored, and the rows whose image cannot be read.

    Args:
        caches: Two caches of one table: a cache of all features, and a cache of the features below the head. The latter
            are the last of all features.
        forward: Function from images to all features.
        rows: Positions in the table.
    """
    features, top = caches

    def load(part: Sequence[int]) -> dict[int, np.ndarray]:
        images: dict[int, np.ndarray] = {}
        for row in part:
            with contextlib.suppress(ValueError):  # an unreadable image
                images[row] = features.batches.image(row)
        return images

    parts = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    loaded = ahead(load, ((part,) for part in parts), features.batches.workers)
    for part, images in zip(parts, loaded, strict=True):
        pixels = list(images.values())
        if pixels:
            padded = stack([*pixels, *[pixels[-1]] * (BATCH - len(pixels))])  # all calls have one shape
            for row, values in zip(images, forward(padded), strict=False):
                features.store(row, 0, np.array(values, np.float32))
                top.store(row, 0, np.array(values[-top.shape[0] :], np.float32))
        yield list(images), [row for row in part if row not in images]


def is_present(image: Image) -> bool:
    """Return whether the file of an image exists, or its function returns pixels."""
    try:
        identity(image)
    except (OSError, ValueError, cv2.error):
        return False
    return True


def fit_projection(caches: Sequence[CachedTable], parts: Sequence[int]) -> Projection:
    """Fit a projection to at most 256 principal components, on at most 2,000 random rows of all tables.

    Args:
        caches: The features of each table.
        parts: The number of features from each layer.
    """
    rows = [(number, index) for number, cache in enumerate(caches) for index in range(len(cache.readable))]
    if not rows:
        return Projection(np.zeros(1, np.float32), np.ones(1, np.float32), np.ones((1, 1), np.float32))
    chosen = np.random.default_rng(0).permutation(len(rows))[:SAMPLE]
    sample = np.stack([caches[number].read(index) for number, index in (rows[row] for row in chosen)])
    mean, scale = sample.mean(0), sample.std(0)
    scale = np.where(scale == 0, 1, scale) * np.sqrt(np.repeat(parts, parts)).astype(np.float32)
    standardised = (sample - mean) / scale
    _, vectors = np.linalg.eigh(standardised.T @ standardised)  # in ascending order of the eigenvalues
    return Projection(mean, scale, vectors[:, ::-1][:, :DIMENSIONS])
