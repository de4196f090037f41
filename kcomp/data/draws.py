"""Counter-based random numbers: a draw depends on what it is for, never on who asks first."""

import hashlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of numbers is for; two purposes never share numbers. The values are part of the runs' seeds."""

    ORDER = 1
    IMAGE = 2
    MIX = 3
    WEIGHTS = 4
    BATCH_LAYER = 5
    NOISE = 6


def generator(seed: int, purpose: Purpose, epoch: int = 0, item: int = 0) -> np.random.Generator:
    """Return the NumPy generator of (seed, purpose, epoch, item), each a whole number from 0 to 2**64 - 1.

    Philox is keyed by seed and purpose; epoch and item are the upper words of its counter, so streams cannot
    overlap (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3).
    """
    return np.random.Generator(np.random.Philox(key=[seed, int(purpose)], counter=[0, 0, item, epoch]))


def item_of(image_id: str) -> int:
    """The 64-bit number of an image id, so that a row keeps its draws wherever it stands in a table."""
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")
