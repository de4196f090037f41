"""Draw initial weights with NumPy, so that both backends start from the same numbers."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.stateless_scope import in_stateless_scope

from kcomp.data.draws import Purpose, generator


@contextlib.contextmanager
def draw_weights_on_host(seed: int) -> Iterator[None]:
    """Make Keras's initializers draw with NumPy inside a `with` block.

    The numbers depend on `seed` and on the order in which layers are built.
    """
    numbers = itertools.count()
    formulas: dict[type, Callable[..., np.ndarray]] = {
        keras.initializers.VarianceScaling: variance_scaling,
        keras.initializers.RandomNormal: random_normal,
        keras.initializers.RandomUniform: random_uniform,
        keras.initializers.TruncatedNormal: truncated_normal,
        keras.initializers.Orthogonal: orthogonal,
    }
    constants = {keras.initializers.Zeros: 0, keras.initializers.Ones: 1}
    originals = {kind: kind.__call__ for kind in (*formulas, *constants)}

    def replacement(formula: Callable[..., np.ndarray]) -> Callable[..., Any]:
        def draw(self: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
            # Keras also draws to infer shapes, on some backends more often; these draws must not advance the count
            item = 2**32 if in_stateless_scope() else next(numbers)
            values = formula(generator(seed, Purpose.WEIGHTS, item=item), self, tuple(shape))
            return keras.ops.convert_to_tensor(values.astype(np.float32), dtype=dtype or keras.config.floatx())

        return draw

    def constant(value: int) -> Callable[..., Any]:
        def fill(self: Any, shape: tuple[int, ...], dtype: Any = None, **keywords: Any) -> Any:
            kind = keras.backend.standardize_dtype(dtype or keras.config.floatx())
            return keras.ops.convert_to_tensor(np.full(shape, value, np.float32), dtype=kind)

        return fill

    try:
        for kind, formula in formulas.items():
            setattr(kind, "__call__", replacement(formula))  # noqa: B010
        for kind, value in constants.items():
            setattr(kind, "__call__", constant(value))  # noqa: B010
        yield
    finally:
        for kind, original in originals.items():
            setattr(kind, "__call__", original)  # noqa: B010


def variance_scaling(draws: np.random.Generator, initializer: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return random weights with variance scale / fan (Glorot and Bengio 2010, He et al. 2015).

    The fan is a layer's number of inputs, its number of outputs, or their mean.
    """
    window = math.prod(shape[:-2])
    fan_in, fan_out = (shape[-2] * window, shape[-1] * window) if len(shape) > 1 else (shape[0], shape[0])
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[initializer.mode]
    variance = initializer.scale / max(1.0, fan)
    if initializer.distribution == "uniform":
        return draws.uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance), shape)
    if initializer.distribution == "untruncated_normal":
        return draws.normal(0.0, math.sqrt(variance), shape)
    # 0.8796 is the standard deviation of a standard normal distribution that is truncated at 2
    return cut_normal(draws, 0.0, math.sqrt(variance) / 0.87962566103423978, shape)


def random_normal(draws: np.random.Generator, initializer: Any, shape: tuple[int, ...]) -> np.ndarray:
    return draws.normal(initializer.mean, initializer.stddev, shape)


def random_uniform(draws: np.random.Generator, initializer: Any, shape: tuple[int, ...]) -> np.ndarray:
    return draws.uniform(initializer.minval, initializer.maxval, shape)


def truncated_normal(draws: np.random.Generator, initializer: Any, shape: tuple[int, ...]) -> np.ndarray:
    return cut_normal(draws, initializer.mean, initializer.stddev, shape)


def cut_normal(draws: np.random.Generator, mean: float, deviation: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return random numbers from a normal distribution that is truncated at two standard deviations."""
    values = draws.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = draws.standard_normal(int(beyond.sum()))
    return mean + deviation * values


def orthogonal(draws: np.random.Generator, initializer: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return random orthogonal weights, multiplied by the initializer's gain (Saxe et al. 2014)."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    factor, triangle = np.linalg.qr(draws.standard_normal((max(rows, columns), min(rows, columns))))
    factor = factor * np.sign(np.diag(triangle))
    return initializer.gain * (factor if rows >= columns else factor.T).reshape(shape)
