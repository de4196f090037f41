"""Counter-based random numbers, keyed by seed, purpose, epoch and item."""

import hashlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The use of a stream of random numbers.

    Two purposes never share numbers. Changing a value changes every run of the same seed.
    """

    ORDER = 1
    IMAGE = 2
    MIX = 3
    WEIGHTS = 4
    BATCH_LAYER = 5
    NOISE = 6


def generator(seed: int, purpose: Purpose, epoch: int = 0, item: int = 0) -> np.random.Generator:
    """Return the NumPy generator of (seed, purpose, epoch, item).

    Each number is whole, from 0 to 2**64 - 1. Philox is keyed by seed and purpose. Epoch and item are the upper words
    of its counter, so streams cannot overlap.

    References:
        Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    return np.random.Generator(np.random.Philox(key=[seed, int(purpose)], counter=[0, 0, item, epoch]))


def item_of(image_id: str) -> int:
    """Return the 64-bit hash of an image id, so that an image's draws do not depend on its position in a table."""
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")
