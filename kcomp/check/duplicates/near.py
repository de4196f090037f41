"""Find near-duplicates: hashes and features propose pairs of images, and a comparison of pixels decides."""

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from kcomp.check.duplicates.pixels import SIDE, describe_change, grey
from kcomp.check.duplicates.search import feature_pairs, hash_pairs
from kcomp.check.duplicates.windows import SMALL, Placement, place_pairs, window_pairs
from kcomp.check.pooled import PooledRows
from kcomp.data.decoding import decode

LEAST_PAIRS = 3000  # pairs that hashes, windows or features propose: so many, or one for each row if these are more
LEAST_COMPARED = 1500  # pairs whose pixels are compared, at about 10 ms: so many, or one for five rows
EXHAUSTIVE = 2500  # up to so many images, all pairs are compared in search of crops
PROMISING = 0.8  # correlation of the small copies, below which they are not compared in detail
DETAILED = 512  # decoded images that are held in memory
WORKERS = 2


@dataclass(frozen=True)
class NearPair:
    """Two images that show the same picture with different pixels.

    Attributes:
        first: Position of the first image in `PooledRows`.
        second: Position of the second image in `PooledRows`.
        change: How one image differs from the other, such as "mirrored"; see `describe_change`.
    """

    first: int
    second: int
    change: str


class Pictures:
    """Decodes images as squares of SIDE pixels, and compares them."""

    def __init__(self, rows: PooledRows) -> None:
        self.rows = rows
        self.load = functools.lru_cache(DETAILED)(self.decode)

    def decode(self, position: int) -> np.ndarray | None:
        """Return an image as RGB, uint8 (SIDE, SIDE, 3), or None if it cannot be decoded."""
        try:
            pixels = decode(self.rows.images[position], SIDE, self.rows.value_range(position))
        except Exception:  # noqa: BLE001  # a function of the author may raise anything; another check reports it
            return None
        return cv2.resize(np.ascontiguousarray(pixels), (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    def compare(self, first: int, second: int, place: Placement) -> str:
        """Return how one image differs from the other, such as "mirrored". Return "" if they show different pictures.

        `place` estimates where one image lies in the other.
        """
        first_pixels, second_pixels = self.load(first), self.load(second)
        if first_pixels is None or second_pixels is None:
            return ""
        return describe_change(first_pixels, second_pixels, place)

    def small(self, position: int) -> np.ndarray:
        """Return a grey copy of an image, uint8 (SMALL, SMALL). All its values are 0 if the image cannot be decoded."""
        pixels = self.decode(position)
        if pixels is None:
            return np.zeros((SMALL, SMALL), np.uint8)
        return np.rint(cv2.resize(grey(pixels), (SMALL, SMALL), interpolation=cv2.INTER_AREA)).astype(np.uint8)


def near_pairs(rows: PooledRows, positions: np.ndarray) -> list[NearPair]:
    """Return pairs of images that show the same picture with different pixels.

    Args:
        rows: All rows of the data set.
        positions: Sorted positions of the rows to compare. No two of their images have equal pixels.
    """
    if len(positions) < 2:
        return []
    pictures, sets = Pictures(rows), DisjointSet(range(len(positions)))
    with ThreadPoolExecutor(WORKERS) as threads:
        small = np.stack(list(threads.map(pictures.small, positions.tolist())))
    candidates = candidate_pairs(rows, positions, small)
    places = list(place_pairs(small, candidates))
    pairs: list[NearPair] = []
    compared = 0
    for number in np.argsort([-place.correlation for place in places], kind="stable").tolist():
        first, second = candidates[number].tolist()
        if places[number].correlation < PROMISING or compared == max(LEAST_COMPARED, len(positions) // 5):
            break
        if sets.connected(first, second):
            continue
        compared += 1
        change = pictures.compare(int(positions[first]), int(positions[second]), places[number])
        if change:
            sets.merge(first, second)
            pairs.append(NearPair(int(positions[first]), int(positions[second]), change))
    return pairs


def candidate_pairs(rows: PooledRows, positions: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Return pairs of images that may show the same picture: indices of `positions`, each pair once, int (pairs, 2).

    Args:
        rows: All rows of the data set.
        positions: Positions of the rows to compare.
        small: Small copies of the images at these positions, uint8 (positions, SMALL, SMALL).
    """
    most = max(LEAST_PAIRS, len(positions))
    pairs = [hash_pairs(rows.facts.hashes[positions], most)]
    if len(positions) <= EXHAUSTIVE:
        pairs.append(window_pairs(small, PROMISING, most))
    elif rows.features is not None:
        pairs.append(feature_pairs(rows.features, positions, most))
    joined = np.concatenate(pairs)
    _, first = np.unique(joined, axis=0, return_index=True)
    return joined[np.sort(first)]
