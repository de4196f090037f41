"""Sketches: short arrays that replace long arrays in files. The distance of two sketches is about that of the two
arrays.
"""

import functools
import hashlib
from collections.abc import Sequence

import numpy as np

BUCKETS = 1 << 14


def sketch(array: np.ndarray) -> np.ndarray:
    """Return the array as a flat float64 array, or as a count sketch if it has more than `BUCKETS` numbers.

    A count sketch adds each number of the array, with a random sign, to one of `BUCKETS` random buckets (Charikar, Chen
    and Farach-Colton 2002). It preserves distances up to a relative standard deviation of 0.6 %.
    """
    flat = np.asarray(array, np.float64).ravel()
    if flat.size <= BUCKETS:
        return flat
    buckets, signs = assignment(flat.size)
    return np.bincount(buckets, weights=flat * signs, minlength=BUCKETS)


def sketch_labels(labels: np.ndarray) -> np.ndarray:
    """Return one sketch of two arrays: the labels with missing labels as 0, and a mask that is 1 for missing labels
    (NaN).
    """
    missing = np.isnan(labels)
    return sketch(np.stack([np.where(missing, 0.0, labels), missing]))


@functools.lru_cache(maxsize=32)
def assignment(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays for a sketch of `size` numbers: the bucket of each number, and its sign (1 or -1)."""
    draws = np.random.default_rng(size)
    return draws.integers(0, BUCKETS, size, np.int32), draws.integers(0, 2, size, np.int8) * 2 - 1


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Euclidean distance of two sketches. It is infinite if their sizes differ or a number is not finite."""
    if first.shape != second.shape:
        return float("inf")
    result = float(np.linalg.norm(first - second))
    return result if np.isfinite(result) else float("inf")


def relative(first: np.ndarray, second: np.ndarray, scale: np.ndarray) -> float:
    """Return the distance of two sketches, divided by the norm of `scale`. The result is 0 for equal sketches."""
    difference, norm = distance(first, second), float(np.linalg.norm(scale))
    if difference == 0:
        return 0.0
    return difference / norm if norm > 0 else float("inf")


def digest(arrays: Sequence[np.ndarray]) -> str:
    """Return a hash of all bits of several arrays."""
    digest_of_all = hashlib.sha256()
    for array in arrays:
        digest_of_all.update(f"{array.dtype}{array.shape}".encode())
        digest_of_all.update(np.ascontiguousarray(array).tobytes())
    return digest_of_all.hexdigest()[:16]
