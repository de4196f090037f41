"""Apply Keras or KerasCV layers to a batch. A seed determines all random numbers of the layers."""

import random
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from kcomp.data.global_seeds import restored_global_seeds


def call_seeded(layer: Any, batch: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Apply a Keras layer to a batch in training mode. `seed` determines all random numbers of the layer.

    Layers that use PyTorch's global generator, such as keras.layers.Dropout, must be created with a `seed`. KerasCV's
    results are the same on both backends, those of Keras's own layers are not. Only one thread may call this function
    at a time.

    Args:
        layer: A Keras layer that takes and returns a dict of `images` and `labels`.
        batch: A dict of `images`, shape (N, height, width, 3) in 0..255, and `labels`, shape (N, classes). `labels` may
            be absent.
        seed: A whole number from 0.

    Returns:
        A dict of the new `images` and `labels`, float32. The shapes are those of `batch`.

    Raises:
        ValueError: If the layer does not take and return such a dict, or changes a shape.
    """
    inputs: dict[str, np.ndarray] = {
        name: np.array(batch[name], np.float32) for name in ("images", "labels") if name in batch
    }
    # Keras has one global generator per thread, so a new thread starts with a new generator
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
    """Seed every random generator that the layer may use, and call the layer, which may overwrite `inputs`."""
    seeds = np.random.default_rng(seed)
    random.seed(int(seeds.integers(2**31)))
    np.random.seed(int(seeds.integers(2**31)))
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(int(seeds.integers(2**31)))
    for seed_generator in seed_generators(layer):
        # random seeds, because on PyTorch consecutive seeds give the same numbers, shifted by a call
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
    """Return all seed generators of a layer and its sublayers: those of Keras, and those of TensorFlow for KerasCV."""
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


def batch_layer_rule(layer: Any) -> str:
    return f"a batch layer must take and return a dict of `images` and `labels`; {type(layer).__name__} does not"
