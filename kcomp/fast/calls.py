"""Faster versions of the method `call` of Keras layers.

Each function returns the layer's output, or None for an unsupported layer or input. The layer's own `call` then runs.
The first arguments are operations of the current backend, such as a function that computes silu. The other arguments
are the layer and the arguments of its `call`.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any

import keras

from kcomp.fast.layers import as_type, covers_convolution, is_depthwise, padding_of, value_of


def activate(silu: Callable[..., Any], layer: Any, inputs: Any) -> Any:
    """Return the output of an Activation("silu") layer. Return None for other activations and for integer inputs.

    silu: the backend's function that computes silu.
    """
    if type(layer) is not keras.layers.Activation or layer.activation is not keras.activations.silu:
        return None
    is_float = keras.ops.is_tensor(inputs) and "float" in keras.backend.standardize_dtype(inputs.dtype)
    return silu(inputs) if is_float else None


def convolve(
    depthwise: Callable[..., Any], dense: Callable[..., Any], layer: Any, inputs: Any, zeros: Any = ((0, 0), (0, 0))
) -> Any:
    """Return the output of a convolution layer, or None if the layer or the inputs are not supported.

    depthwise: function that computes a depthwise convolution. Its kernel is (height, width, C).
    dense:     function that computes any other convolution. Its kernel is (height, width, C, F).
    zeros:     rows and columns of zeros to add around the images first, ((top, bottom), (left, right)).

    Both functions take images (N, H, W, C), the kernel, a bias (F,) or None, the strides, and the padding in pixels,
    ((top, bottom), (left, right)).
    """
    if not (covers_convolution(layer) and keras.ops.is_tensor(inputs) and len(inputs.shape) == 4):
        return None
    sides = tuple(size + sum(added) for size, added in zip(inputs.shape[1:3], zeros, strict=True))
    if layer.padding == "valid" and any(map(operator.lt, sides, layer.kernel_size)):
        return None
    kernel, bias = value_of(layer.kernel), value_of(layer.bias)
    if inputs.dtype != kernel.dtype:  # integers, or a call without Keras's automatic casts
        return None
    padding = zeros if layer.padding == "valid" else padding_of(layer, inputs)
    if is_depthwise(layer):
        outputs = depthwise(inputs, kernel.reshape(*kernel.shape[:2], -1), bias, layer.strides, padding)
    else:
        outputs = dense(inputs, kernel, bias, layer.strides, padding)
    return outputs if outputs is None or layer.activation is None else layer.activation(outputs)


def pad_and_convolve(depthwise: Callable[..., Any], dense: Callable[..., Any], pair: Any, inputs: Any) -> Any:
    """Return the output of zero padding followed by a convolution, or None if the layers are not supported.

    `pair` has the two layers. `convolve` describes `depthwise` and `dense`.
    """
    padding, convolution = pair.layers
    return convolve(depthwise, dense, convolution, inputs, padding.padding)


def normalise(
    arithmetic: Callable[..., Any],
    move: Callable[..., Any],
    layer: Any,
    inputs: Any,
    training: bool | None = None,
    mask: Any = None,
) -> Any:
    """Return the output of BatchNormalization, or None if the layer or the inputs are not supported.

    arithmetic: the backend's function `normalise`, such as `kcomp.fast.jax.convolution.normalise`.
    move:       the backend's function `move`, which updates a moving average.
    """
    if type(layer) is not keras.layers.BatchNormalization or mask is not None or layer.renorm or layer.synchronized:
        return None
    if not keras.ops.is_tensor(inputs) or layer.axis not in (-1, len(inputs.shape) - 1):
        return None
    dtype = keras.backend.result_type(inputs.dtype, "float32")  # statistics in 16 bits would overflow
    weights = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    values = tuple(as_type(value_of(weight), dtype) for weight in weights)
    learns = bool(training and layer.trainable)
    result = arithmetic(as_type(inputs, dtype), *values, layer.epsilon, learns)
    if result is None:
        return None
    (outputs, mean, variance), (_, _, moving_mean, moving_variance) = result, values
    if learns:
        move(layer.moving_mean, moving_mean, mean, layer.momentum)
        move(layer.moving_variance, moving_variance, variance, layer.momentum)
    return as_type(outputs, layer.compute_dtype)


def normalise_and_activate(
    arithmetic: Callable[..., Any], move: Callable[..., Any], pair: Any, inputs: Any, training: bool | None = None
) -> Any:
    """Return the output of batch normalisation followed by silu, or None if the layers are not supported.

    arithmetic: a function like `normalise` that also applies silu to the outputs.
    move:       the backend's function `move`, which updates a moving average.
    pair:       has the two layers.
    """
    normalisation, activation = pair.layers
    is_silu = activation.activation is keras.activations.silu  # the user may have set another activation
    return normalise(arithmetic, move, normalisation, inputs, training) if is_silu else None


def normalise_and_excite(
    arithmetic: Callable[..., Any], move: Callable[..., Any], block: Any, inputs: Any, training: bool | None = None
) -> Any:
    """Return the output of batch normalisation, silu, then squeeze and excitation. None if the layers are not
    supported.

    arithmetic: a function like `normalise` that also applies silu, then squeeze and excitation. Its first argument is
                the tuple (kernel, bias, kernel, bias) of the two convolutions of squeeze and excitation.
    move:       the backend's function `move`, which updates a moving average.
    block:      has all layers.
    """
    if not block.has_usual_activations:
        return None
    convolutions = (block.first, block.second)
    first, second = ((value_of(layer.kernel)[0, 0].contiguous(), value_of(layer.bias)) for layer in convolutions)
    normalisation, _ = block.activated.layers
    return normalise(functools.partial(arithmetic, (*first, *second)), move, normalisation, inputs, training)
