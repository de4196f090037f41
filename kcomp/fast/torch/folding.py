"""Operations that replace several layers of a network in prediction on PyTorch."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import torch
from keras.src.backend import AutocastScope
from torch.nn import functional

from kcomp.fast.excitation import Excitation
from kcomp.fast.layers import as_type, is_depthwise, padding_of, value_of
from kcomp.fast.torch.convolve import convolve, convolve_packed, pack_kernel, times_matrix
from kcomp.fast.torch.excitation import silu_excited
from kcomp.fast.torch.loop_arguments import exported
from kcomp.fast.torch.silu import silu_in_place

Padding = tuple[tuple[int, int], tuple[int, int]]
SIZES = 4  # for how many image sizes a convolution stores a kernel in oneDNN's memory order


def in_place_activation(layer: Any) -> Callable[[Any], Any] | None:
    """Return a function that applies an activation layer in place, or None for an unsupported layer.

    Supported are Activation("silu"), Activation("relu"), and ReLU without slope and threshold.
    """
    if type(layer) is keras.layers.Activation and layer.activation is keras.activations.silu:
        return silu_in_place
    if type(layer) is keras.layers.Activation and layer.activation is keras.activations.relu:
        return torch.relu_
    if type(layer) is keras.layers.ReLU and layer.negative_slope == layer.threshold == 0:
        ceiling = layer.max_value
        return lambda values: values.clamp_(0.0, ceiling)
    return None


class Folded:
    """One convolution that replaces zero padding, a convolution, batch normalisation and an activation.

    Each filter is multiplied by scale = gamma / sqrt(variance + epsilon). The new bias is (bias - mean) * scale + beta
    (Jacob et al. 2018, section 3.2). If the layers' weights change, call `fold` again.

    layers: the layers to replace, in order. Only the convolution is required. A Dropout layer is ignored.
    """

    def __init__(self, layers: list[Any]) -> None:
        zeros = layers.pop(0).padding if type(layers[0]) is keras.layers.ZeroPadding2D else ((0, 0), (0, 0))
        self.layer, *others = layers
        self.zeros: Padding = zeros
        self.normalisation: Any = None
        self.after: Any = None
        for layer in others:
            if type(layer) is keras.layers.BatchNormalization:
                self.normalisation = layer
            elif type(layer) is not keras.layers.Dropout:
                self.after = layer
        self.fold()

    @property
    def activation(self) -> Callable[[Any], Any] | None:
        """The activation after the convolution, or None.

        It is read at each call, because a user can change the activation of a layer.
        """
        if self.after is not None:
            return in_place_activation(self.after) or self.after.call
        return None if self.layer.activation is keras.activations.linear else self.layer.activation

    def fold(self) -> None:
        """Compute kernel and bias again, from the current weights of the convolution and the batch normalisation."""
        with AutocastScope(None):
            kernel, self.bias, self.groups = value_of(self.layer.kernel), value_of(self.layer.bias), 1
        if is_depthwise(self.layer):
            kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
            self.groups = kernel.shape[-1]
        if self.normalisation is not None:
            kernel = kernel * self.fold_normalisation(self.normalisation)
        kernel = as_type(kernel, self.layer.compute_dtype)
        self.bias = as_type(self.bias, self.layer.compute_dtype)
        self.kernel = kernel.permute(3, 2, 0, 1).contiguous()  # copied once, not at every call
        self.prepared: dict[tuple[int, int], Callable[[Any], Any]] = {}

    def fold_normalisation(self, normalisation: Any) -> Any:
        """Include a batch normalisation in `bias`, and return the scale (F,) that the kernel must be multiplied by."""
        variance, mean = normalisation.moving_variance.value, normalisation.moving_mean.value
        scale = torch.rsqrt(variance + normalisation.epsilon)
        scale = scale if normalisation.gamma is None else scale * normalisation.gamma.value
        shift = -mean * scale if self.bias is None else (self.bias - mean) * scale
        self.bias = shift if normalisation.beta is None else shift + normalisation.beta.value
        return scale

    def call(self, images: Any) -> Any:
        outputs, activation = self.convolved(images), self.activation
        return outputs if activation is None else activation(outputs)

    def convolved(self, images: Any) -> Any:
        if exported():
            return self.prepare(images)(images)
        size = images.shape[1], images.shape[2]
        if size not in self.prepared:
            if len(self.prepared) == SIZES:
                del self.prepared[next(iter(self.prepared))]
            self.prepared[size] = self.prepare(images)
        return self.prepared[size](images)

    def prepare(self, images: Any) -> Callable[[Any], Any]:
        """Return a function that computes this convolution for images of the same size as `images`."""
        strides, groups, bias = self.layer.strides, self.groups, self.bias
        rows, columns = padding_of(self.layer, images)
        padding = add_pairs(self.zeros[0], rows), add_pairs(self.zeros[1], columns)
        one_pixel = self.kernel.shape[2:] == images.shape[1:3] == (1, 1) and not any(map(any, padding))
        if one_pixel and bias is not None and groups == 1:
            matrix = self.kernel[:, :, 0, 0].t()
            return lambda images: times_matrix(images, matrix, bias)
        kernel, padding = equalise_padding(self.kernel, padding) if groups > 1 else (self.kernel, padding)
        ordered = pack_kernel(kernel, images, strides, padding, groups)
        if ordered is None:
            return lambda images: convolve(images, kernel, bias, strides, padding, groups)
        return lambda images: convolve_packed(images, ordered, bias, strides, padding, groups)


class Excited:
    """A `Folded` convolution with silu, then squeeze and excitation, called like one layer."""

    def __init__(self, start: Folded, excitation: Excitation) -> None:
        self.start, self.excitation = start, excitation
        self.read_gate()

    def fold(self) -> None:
        self.start.fold()
        self.read_gate()

    def read_gate(self) -> None:
        convolutions = self.excitation.first, self.excitation.second
        with AutocastScope(None):
            weights = [weight for layer in convolutions for weight in (layer.kernel, layer.bias)]
            values = [value_of(weight) for weight in weights]
        kernels, biases = values[::2], values[1::2]
        pairs = zip(kernels, biases, strict=True)
        self.weights = [value.contiguous() for kernel, bias in pairs for value in (kernel[0, 0], bias)]

    def call(self, images: Any) -> Any:
        outputs = self.start.convolved(images)
        if self.excitation.has_usual_activations and silu_excited(outputs, *self.weights):
            return outputs
        _, activation = self.excitation.activated.layers
        return self.excitation.gated((in_place_activation(activation) or activation.call)(outputs))


class Overwriting:
    """An Add or Multiply layer that writes its result into the memory of its first input, if the shapes are equal.

    layer:  Keras's layer, which runs if the shapes differ.
    change: function of two tensors that adds or multiplies in place.
    """

    def __init__(self, layer: Any, change: Callable[[Any, Any], Any]) -> None:
        self.layer, self.change = layer, change

    def call(self, values: Any) -> Any:
        first, *others = values
        if not all(broadcasts_to(other.shape, first.shape) for other in others):
            return self.layer.call(values)
        return functools.reduce(self.change, others, first)


def broadcasts_to(shape: Any, target: Any) -> bool:
    return len(shape) == len(target) and all(size in (1, other) for size, other in zip(shape, target, strict=True))


def add_pairs(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return first[0] + second[0], first[1] + second[1]


def equalise_padding(kernel: Any, padding: Padding) -> tuple[Any, Padding]:
    """Return a kernel and padding that give the same convolution. The new padding is equal on opposite sides.

    For this, rows or columns of zeros are added to the kernel. If zeros would be needed on the other side of the
    kernel, the padding stays unequal.

    kernel:  depthwise kernel (C, 1, height, width).
    padding: ((top, bottom), (left, right)) in pixels.
    """
    # PyTorch would copy the images to pad opposite sides differently
    (top, bottom), (left, right) = padding
    above, before = max(bottom - top, 0), max(right - left, 0)
    kernel = functional.pad(kernel, (before, 0, above, 0))
    return kernel, ((top + above, bottom), (left + before, right))
