"""Make random generators whose numbers depend only on a seed, a purpose, an epoch and an item.

The item is the image or the batch that the random numbers are for.
"""

import hashlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are used for, such as the order of the rows (ORDER).

    Two purposes never share random numbers. Do not change the values: each change would change the random numbers of
    every training.
    """

    ORDER = 1
    IMAGE = 2
    MIX = 3
    WEIGHTS = 4
    BATCH_LAYER = 5
    NOISE = 6


def generator(seed: int, purpose: Purpose, epoch: int = 0, item: int = 0) -> np.random.Generator:
    """Return a NumPy generator whose numbers depend only on the arguments.

    Each argument is a whole number from 0 to 2**64 - 1. `item` is the number of a batch, or the hash of an image id
    (see `item_of`). The generator is Philox, which computes each number from a key and a counter. Seed and purpose are
    the key. Epoch and item are the upper words of the counter, so different arguments never give the same numbers.

    References:
        Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    return np.random.Generator(np.random.Philox(key=[seed, int(purpose)], counter=[0, 0, item, epoch]))


def item_of(image_id: str) -> int:
    """Return the 64-bit hash of an image id, to pass as `item` to `generator`.

    With a hash, the random numbers for an image do not depend on the position of the image in a table.
    """
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")
