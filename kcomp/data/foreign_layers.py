"""Apply Keras layers with their own random numbers (KerasCV's, Keras's own) to a batch with a fixed seed."""

import contextlib
import random
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np


def call_seeded(layer: Any, batch: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Apply a layer to a batch in training mode. `seed` determines all its random numbers.

    The function seeds the generators of the layer and its sublayers, and those of TensorFlow, Python and NumPy. It
    restores Python's and NumPy's afterwards. It does not seed PyTorch's global generator, because training uses it for
    dropout at the same time. Create a layer that uses this generator, such as keras.layers.Dropout, with a `seed`.

    The layer computes in float32 under any dtype policy. If it has an argument for the range of pixel values, set it to
    (0, 255). KerasCV computes with TensorFlow, so its results are the same on both backends. Keras's own layers draw
    different numbers on each backend. Only one thread may call this function at a time.

    Args:
        layer: A Keras layer that takes and returns a dict of `images` and `labels`.
        batch: `images` float32 (N, H, W, 3) in 0..255, and `labels` float32 (N, classes) unless unlabelled.
        seed: A whole number from 0 up.

    Returns:
        The new `images` and `labels`, float32, in the shapes of the input.

    Raises:
        ValueError: If the layer does not take and return such a dict, or changes a shape.
    """
    inputs: dict[str, np.ndarray] = {
        name: np.array(batch[name], np.float32) for name in ("images", "labels") if name in batch
    }
    # Keras's global generator is one per thread, so a new thread has a fresh one
    with restored_global_seeds(), ThreadPoolExecutor(1) as thread:
        outputs = thread.submit(seed_and_call, layer, inputs, seed).result()
    for name, values in inputs.items():
        if outputs[name].shape != values.shape:
            raise ValueError(
                f"a batch layer must keep the shape of `{name}`, {values.shape}; "
                f"{type(layer).__name__} returned {outputs[name].shape}"
            )
    return outputs


def seed_and_call(layer: Any, inputs: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Seed every generator the layer may use, and call it.

    Some Keras layers overwrite their inputs, so `inputs` must be a copy.
    """
    seeds = np.random.default_rng(seed)
    random.seed(int(seeds.integers(2**31)))
    np.random.seed(int(seeds.integers(2**31)))
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(int(seeds.integers(2**31)))
    for seed_generator in seed_generators(layer):
        # random seeds, because on PyTorch neighbouring seeds give the same numbers one call later
        reset(seed_generator, int(seeds.integers(2**31)))
    for sublayer in layer._flatten_layers():
        sublayer.dtype_policy = "float32"  # KerasCV layers fail under a mixed policy
    try:
        outputs = layer(inputs, training=True)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{batch_layer_rule(layer)}; calling it failed: {error}") from error
    if not isinstance(outputs, Mapping) or not set(inputs) <= set(outputs):
        raise ValueError(f"{batch_layer_rule(layer)}; it returned {type(outputs).__name__}")
    return {name: keras.ops.convert_to_numpy(outputs[name]).astype(np.float32) for name in inputs}


def seed_generators(layer: Any) -> list[Any]:
    """Return the seed generators of a layer and its sublayers: Keras's, and TensorFlow's, which KerasCV uses."""
    by_identity = {}
    for sublayer in layer._flatten_layers():
        for value in (*sublayer._seed_generators, *vars(sublayer).values()):
            if isinstance(value, keras.random.SeedGenerator) or hasattr(value, "reset_from_seed"):
                by_identity[id(value)] = value
    return list(by_identity.values())


def reset(seed_generator: Any, seed: int) -> None:
    if isinstance(seed_generator, keras.random.SeedGenerator):
        seed_generator.state.assign([seed, 0])
    else:
        seed_generator.reset_from_seed(seed)


@contextlib.contextmanager
def restored_global_seeds() -> Iterator[None]:
    """Restore the global generators of Python and NumPy when the block ends."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def batch_layer_rule(layer: Any) -> str:
    return f"a batch layer must take and return a dict of `images` and `labels`; {type(layer).__name__} does not"
