"""Make random generators whose numbers depend only on a seed, a purpose, an epoch and an item (image or batch)."""

import hashlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are used for, such as the order of the rows (ORDER)."""

    ORDER = 1
    IMAGE = 2
    MIX = 3
    WEIGHTS = 4
    BATCH_LAYER = 5
    NOISE = 6


def generator(seed: int, purpose: Purpose, epoch: int = 0, item: int = 0, copy: int = 0) -> np.random.Generator:
    """Return a NumPy generator whose numbers depend only on the arguments.

    Each argument is a whole number from 0 to 2**64 - 1. `item` is the number of a batch, or the hash of an image id
    (see `item_of`). `copy` is how often an image came before in the epoch. The generator is Philox: seed and purpose
    are its key, epoch, item and copy the upper words of its counter.

    References:
        Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    return np.random.Generator(np.random.Philox(key=[seed, int(purpose)], counter=[0, copy, item, epoch]))


def item_of(image_id: str) -> int:
    """Return the 64-bit hash of an image id, to pass as `item` to `generator`."""
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")
