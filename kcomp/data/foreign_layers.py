"""Keras layers that draw for themselves (KerasCV's, or Keras's own), applied to a batch with their draws fixed."""

import contextlib
import random
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np


def call_seeded(layer: Any, batch: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Apply `layer` in training mode to `images` float32 (N, H, W, 3) in 0..255 and `labels` float32 (N, classes).

    The layer is given a dict of these two and must return one with both in their shapes, else ValueError. It computes
    in float32 whatever the dtype policy; its values are its own business, so tell it the value range where it asks
    for one. The result is float32 and depends on `seed` (from 0 up) alone, not on what was drawn before. KerasCV
    computes with TensorFlow whatever the backend: the same pixels on both. Keras's own layers draw other numbers on
    each backend.

    Seeded are the generators of the layer and of the layers in it, TensorFlow's, and those of Python and NumPy, which
    are put back afterwards. PyTorch's is left alone, because training draws its dropout from it at the same time: a
    layer that would share it, keras.layers.Dropout, needs a seed of its own. Only one thread may call at a time.
    """
    given: dict[str, np.ndarray] = {
        name: np.array(batch[name], np.float32) for name in ("images", "labels") if name in batch
    }
    with put_back(), ThreadPoolExecutor(1) as fresh:  # Keras's global generator is one a thread: here it is new
        returned = fresh.submit(seed_and_call, layer, given, seed).result()
    for name, values in given.items():
        if returned[name].shape != values.shape:
            raise ValueError(
                f"a batch layer must keep the shape of `{name}`, {values.shape}; "
                f"{type(layer).__name__} returned {returned[name].shape}"
            )
    return returned


def seed_and_call(layer: Any, given: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Seed everything the layer may draw from, and call it; `given` may be overwritten, for some Keras layers do."""
    draws = np.random.default_rng(seed)
    random.seed(int(draws.integers(2**31)))
    np.random.seed(int(draws.integers(2**31)))
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(int(draws.integers(2**31)))
    for drawer in drawers(layer):  # far apart: on torch, neighbouring seeds give the same numbers one call later
        reset(drawer, int(draws.integers(2**31)))
    for part in layer._flatten_layers():
        part.dtype_policy = "float32"  # made under a mixed policy, KerasCV's fail
    try:
        returned = layer(given, training=True)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{rule(layer)}; calling it failed: {error}") from error
    if not isinstance(returned, Mapping) or not set(given) <= set(returned):
        raise ValueError(f"{rule(layer)}; it returned {type(returned).__name__}")
    return {name: keras.ops.convert_to_numpy(returned[name]).astype(np.float32) for name in given}


def drawers(layer: Any) -> list[Any]:
    """The generators of a layer and of the layers in it, each once: Keras's, and TensorFlow's, which KerasCV uses."""
    found = {}
    for part in layer._flatten_layers():
        for value in (*part._seed_generators, *vars(part).values()):
            if isinstance(value, keras.random.SeedGenerator) or hasattr(value, "reset_from_seed"):
                found[id(value)] = value
    return list(found.values())


def reset(drawer: Any, seed: int) -> None:
    if isinstance(drawer, keras.random.SeedGenerator):
        drawer.state.assign([seed, 0])
    else:
        drawer.reset_from_seed(seed)


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Leave the global generators of Python and NumPy as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def rule(layer: Any) -> str:
    return f"a batch layer must take and return a dict of `images` and `labels`; {type(layer).__name__} does not"
