"""Counter-based random numbers. Seed, purpose, epoch and item determine each stream of numbers."""

import hashlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of random numbers is used for.

    Different purposes never share numbers. Do not change the values: that would change the numbers of every run.
    """

    ORDER = 1
    IMAGE = 2
    MIX = 3
    WEIGHTS = 4
    BATCH_LAYER = 5
    NOISE = 6


def generator(seed: int, purpose: Purpose, epoch: int = 0, item: int = 0) -> np.random.Generator:
    """Return the NumPy generator of random numbers for (seed, purpose, epoch, item).

    Each argument is a whole number from 0 to 2**64 - 1. The generator is Philox. Seed and purpose are its key; epoch
    and item are the upper words of its counter, so streams cannot overlap.

    References:
        Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    return np.random.Generator(np.random.Philox(key=[seed, int(purpose)], counter=[0, 0, item, epoch]))


def item_of(image_id: str) -> int:
    """Return the 64-bit hash of an image id, to use as `item` of `generator`.

    An image's random numbers then do not depend on its position in a table.
    """
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")
