"""Arrays made small enough to hand between processes, so that the distance of two arrays can still be measured."""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

BUCKETS = 1 << 14


def sketch(array: np.ndarray) -> np.ndarray:
    """The array itself, flat, or for more than `BUCKETS` numbers a count sketch of so many: float64.

    Each number is added with a random sign to a random bucket, the same for every array of a size (Charikar, Chen and
    Farach-Colton 2002). The norm of a difference of sketches is that of the difference, to a relative standard
    deviation of 1 / sqrt(2 * BUCKETS) = 0.6 %; of equal arrays it is exactly 0.
    """
    flat = np.asarray(array, np.float64).ravel()
    if flat.size <= BUCKETS:
        return flat
    buckets, signs = assignment(flat.size)
    return np.bincount(buckets, weights=flat * signs, minlength=BUCKETS)


@functools.lru_cache(maxsize=32)
def assignment(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A bucket and a sign for each position of an array of this size."""
    draws = np.random.default_rng(size)
    return draws.integers(0, BUCKETS, size, np.int32), draws.integers(0, 2, size, np.int8) * 2 - 1


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """The Euclidean distance of two sketches; infinite where their sizes differ, or one holds what is no number."""
    if first.shape != second.shape:
        return float("inf")
    found = float(np.linalg.norm(first - second))
    return found if np.isfinite(found) else float("inf")


def relative(first: np.ndarray, second: np.ndarray, scale: np.ndarray) -> float:
    """Their distance in units of the norm of `scale`; 0 where both are equal, whatever the scale."""
    found, norm = distance(first, second), float(np.linalg.norm(scale))
    return 0.0 if found == 0 else found / norm if norm > 0 else float("inf")


def digest(arrays: Sequence[np.ndarray]) -> str:
    """A hash of the bits of arrays, in their order."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
