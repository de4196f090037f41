"""Convolutions and batch normalisation at the speed of the framework, below any channels_last Keras model.

    with fast_layers():
        model.fit(batches)          # EfficientNet, ConvNeXt, your own: the model does not know

Keras 3.15 leaves much of a CPU's speed unused: on JAX a depthwise convolution runs as one small convolution a channel,
on PyTorch every convolution copies its input to the other layout and back, and batch normalisation is a chain of passes
over the activations. The context puts arithmetic with the same result under public layer classes, and on PyTorch a
shorter way from layer to layer under functional models.
"""

import contextlib
import functools
import importlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import keras

from kcomp.fast.excitation import Excitation
from kcomp.fast.layers import as_type, covers_convolution, is_depthwise, padding_of, value_of
from kcomp.fast.pairs import NormalisedSilu, PaddedConvolution, Standardised
from kcomp.fast.straight import run_straight


@contextlib.contextmanager
def fast_layers() -> Iterator[None]:
    """Replace `call` of Conv2D, DepthwiseConv2D, BatchNormalization, Activation and, on PyTorch,
    GlobalAveragePooling2D, Reshape, Multiply, Add and Rescaling by faster ones while it lasts.

    Weights, results (to rounding) and gradients stay the same; on exit, also by an exception, classes are as before.
    Contexts may be nested, but not interleaved by threads: the classes change for the whole process.
    The context must surround the first call: on JAX, Keras compiles `fit`, `evaluate` and `predict` when they first run
    and again for a new batch shape; what was compiled inside stays fast outside, what was compiled outside stays slow
    inside. On PyTorch, which is eager, it must surround every call.

    Covered: these classes themselves (a subclass keeps its own arithmetic), channels_last, any float type (pooling and
    rescaling: float32), padding "same" and "valid", no dilation. Anything else (masks, renorm, other groups, ...) runs
    Keras's own `call`.
        JAX on a CPU: depthwise convolutions (DepthwiseConv2D with depth_multiplier 1; Conv2D with as many groups as
            channels and filters), 1x1 convolutions, batch normalisation that learns its statistics, Activation("silu").
            All have reverse-mode gradients only: no `jax.jvp`. On a GPU or TPU nothing is replaced.
        PyTorch on any device: these convolutions and all others with one group, batch normalisation in training and in
            inference, what squeeze and excitation is made of, and the `call` of functional models
            (kcomp.fast.straight). On a CPU, Rescaling, and loops of our own in the place of some of it.
    """
    with contextlib.ExitStack() as replaced:
        for layer_class, accelerated in _accelerated_calls().items():
            inherited = "call" not in vars(layer_class)
            restore = (delattr, layer_class, "call") if inherited else (setattr, layer_class, "call", layer_class.call)
            replaced.callback(*restore)
            layer_class.call = _with_fallback(layer_class.call, accelerated)
        yield


def fast_layers_are_on() -> bool:
    """Whether the context is entered."""
    return hasattr(keras.layers.Conv2D.call, "__wrapped__")


def _with_fallback(original: Callable[..., Any], accelerated: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `call` that runs `accelerated`, and `original` where that returns None."""

    @functools.wraps(original)  # Keras reads the signature to decide which arguments a layer gets
    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        outputs = accelerated(self, *arguments, **keywords)
        return original(self, *arguments, **keywords) if outputs is None else outputs

    return call


def _accelerated_calls() -> dict[Any, Callable[..., Any]]:
    """Return {layer class: its faster call} for the backend that runs; empty where Keras's own need no help."""
    if keras.backend.backend() == "torch":
        from kcomp.fast.torch import convolution as arithmetic
    elif keras.backend.backend() == "jax" and importlib.import_module("jax").default_backend() == "cpu":
        from kcomp.fast.jax import convolution as arithmetic  # type: ignore[no-redef]
    else:
        return {}
    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    calls: dict[Any, Callable[..., Any]] = dict.fromkeys(
        convolutions, functools.partial(_convolve, arithmetic.depthwise, arithmetic.dense)
    )
    calls[keras.layers.BatchNormalization] = functools.partial(_normalise, arithmetic.normalise, arithmetic.move)
    if hasattr(arithmetic, "silu"):
        calls[keras.layers.Activation] = functools.partial(_activate, arithmetic.silu)
    if keras.backend.backend() == "torch":
        calls |= arithmetic.OTHERS
        calls[importlib.import_module("keras.src.models.functional").Functional] = run_straight
        calls[Standardised] = arithmetic.standardised
        calls[NormalisedSilu] = functools.partial(_normalise_and_activate, arithmetic.normalised_silu, arithmetic.move)
        calls[Excitation] = functools.partial(_normalise_and_excite, arithmetic.normalised_excited, arithmetic.move)
        calls[PaddedConvolution] = functools.partial(_pad_and_convolve, arithmetic.depthwise, arithmetic.dense)
    return calls


def _activate(silu: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    """Return what Activation's `call` returns for silu, or None for another activation; `silu` takes inputs alone."""
    if type(layer) is not keras.layers.Activation or layer.activation is not keras.activations.silu:
        return None
    floats = keras.ops.is_tensor(inputs) and "float" in keras.backend.standardize_dtype(inputs.dtype)
    return silu(inputs) if floats else None


def _convolve(
    depthwise: Callable[..., Any], dense: Callable[..., Any], layer: Any, inputs: Any, zeros: Any = ((0, 0), (0, 0))
) -> Any:
    """Return what a convolution layer's `call` returns for the inputs with so many zeros around them, ((top, bottom),
    (left, right)), or None where neither `depthwise` nor `dense` covers it.

    Both take images (N, H, W, C), a kernel, a bias (F,) or None, the strides and the padding in pixels ((top, bottom),
    (left, right)); the kernel is (height, width, C) for `depthwise` and (height, width, C, F) for `dense`.
    """
    if not (covers_convolution(layer) and keras.ops.is_tensor(inputs) and len(inputs.shape) == 4):
        return None
    sides = tuple(size + sum(added) for size, added in zip(inputs.shape[1:3], zeros, strict=True))
    if layer.padding == "valid" and any(map(operator.lt, sides, layer.kernel_size)):
        return None
    kernel, bias = value_of(layer.kernel), value_of(layer.bias)
    if inputs.dtype != kernel.dtype:  # integers, or called past Keras's automatic casts
        return None
    padding = zeros if layer.padding == "valid" else padding_of(layer, inputs)
    if is_depthwise(layer):
        outputs = depthwise(inputs, kernel.reshape(*kernel.shape[:2], -1), bias, layer.strides, padding)
    else:
        outputs = dense(inputs, kernel, bias, layer.strides, padding)
    return outputs if outputs is None or layer.activation is None else layer.activation(outputs)


def _pad_and_convolve(depthwise: Callable[..., Any], dense: Callable[..., Any], both: Any, inputs: Any) -> Any:
    """Return what PaddedConvolution's `call` returns, or None."""
    padding, convolution = both.layers
    return _convolve(depthwise, dense, convolution, inputs, padding.padding)


def _normalise(
    normalise: Callable[..., Any],
    move: Callable[..., Any],
    layer: Any,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    """Return what BatchNormalization's `call` returns, or None where `normalise` does not cover it.

    `normalise` takes inputs (..., C), gamma and beta (C,) or None, the moving mean and variance (C,), epsilon and
    whether to use the batch's statistics. It returns None or the outputs and the batch's mean and variance (C,), the
    variance divided by the count (biased, as Keras keeps it). `move` takes a moving average's variable, its value, what
    it is to follow and its momentum.
    """
    if type(layer) is not keras.layers.BatchNormalization or mask is not None or layer.renorm or layer.synchronized:
        return None
    if not keras.ops.is_tensor(inputs) or layer.axis not in (-1, len(inputs.shape) - 1):
        return None
    dtype = keras.backend.result_type(inputs.dtype, "float32")  # statistics in 16 bits would overflow
    kept = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    values = tuple(as_type(value_of(weight), dtype) for weight in kept)
    learns = bool(training and layer.trainable)
    result = normalise(as_type(inputs, dtype), *values, layer.epsilon, learns)
    if result is None:
        return None
    (outputs, mean, variance), (_, _, moving_mean, moving_variance) = result, values
    if learns:
        move(layer.moving_mean, moving_mean, mean, layer.momentum)
        move(layer.moving_variance, moving_variance, variance, layer.momentum)
    return as_type(outputs, layer.compute_dtype)


def _normalise_and_activate(
    normalise: Callable[..., Any], move: Callable[..., Any], both: Any, inputs: Any, training: bool | None = None
) -> Any:
    """Return what NormalisedSilu's `call` returns, or None; `normalise` and `move` as above."""
    normalisation, activation = both.layers
    still = activation.activation is keras.activations.silu  # it may have been set since
    return _normalise(normalise, move, normalisation, inputs, training) if still else None


def _normalise_and_excite(
    normalise: Callable[..., Any], move: Callable[..., Any], whole: Any, inputs: Any, training: bool | None = None
) -> Any:
    """Return what Excitation's `call` returns, or None; `normalise` takes the weights of the two products first."""
    if not whole.usual:
        return None
    first, second = (
        (value_of(one.kernel)[0, 0].contiguous(), value_of(one.bias)) for one in (whole.first, whole.second)
    )
    normalisation, _ = whole.activated.layers
    return _normalise(functools.partial(normalise, (*first, *second)), move, normalisation, inputs, training)
