"""Seed the global random generators of Python and NumPy for code that draws from them, and restore them afterwards."""

import contextlib
import random
import threading
from collections.abc import Iterator

import numpy as np

LOCK = threading.Lock()  # only one thread at a time may set the global seeds


@contextlib.contextmanager
def restored_global_seeds() -> Iterator[None]:
    """Restore the global random generators of Python and NumPy at the end of a `with` block."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of Python and NumPy in a `with` block, with a number from 0 to 2**32 - 1.

    Other threads that use this function or `LOCK` wait meanwhile.
    """
    with LOCK, restored_global_seeds():
        random.seed(seed)
        np.random.seed(seed)
        yield
