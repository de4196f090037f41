"""Squeeze and excitation (Hu et al. 2018) and shortcuts on PyTorch: layers to which the way is longer than their work.

Each takes a layer and what its `call` takes, and returns what that returns, or None for what only Keras's own covers.
"""

import functools
from typing import Any

import keras
import torch

from kcomp.models.loops_torch import covered, loops


def pooled(layer: Any, images: Any) -> Any:
    """The means of (N, H, W, C) over H and W.

    They are divided after the sum, so that its gradient, which is the same at each pixel, is no array of the images'
    size.
    """
    own = type(layer) is keras.layers.GlobalAveragePooling2D and layer.data_format == "channels_last"
    if not own or not torch.is_tensor(images) or images.dtype != torch.float32:
        return None
    return images.sum((1, 2), layer.keepdims) / float(images.shape[1] * images.shape[2])


def reshaped(layer: Any, values: Any) -> Any:
    plain = type(layer) is keras.layers.Reshape and torch.is_tensor(values)
    return values.reshape(len(values), *layer.target_shape) if plain else None


def multiplied(layer: Any, values: Any) -> Any:
    return functools.reduce(gated, values) if merges(layer, keras.layers.Multiply, values) else None


def added(layer: Any, values: Any) -> Any:
    return functools.reduce(torch.add, values) if merges(layer, keras.layers.Add, values) else None


def merges(layer: Any, kind: Any, values: Any) -> bool:
    """Whether a layer is of that class and has tensors of one type and rank to merge."""
    return (
        type(layer) is kind
        and isinstance(values, list | tuple)
        and all(map(torch.is_tensor, values))
        and len({(value.dtype, value.ndim) for value in values}) == 1
    )


def gated(images: Any, gate: Any) -> Any:
    """The product of images (N, H, W, C) and a number for each of their channels, (N, 1, 1, C); or of any tensors."""
    per_channel = images.ndim == 4 and gate.shape == (images.shape[0], 1, 1, images.shape[3])
    learns = torch.is_grad_enabled() and images.requires_grad and gate.requires_grad
    return Gated.apply(images, gate) if per_channel and learns and covered(images) else images * gate


class Gated(torch.autograd.Function):
    """Both gradients in one pass: PyTorch writes the whole product with the images before it sums it."""

    @staticmethod
    def forward(context: Any, images: Any, gate: Any) -> Any:
        context.save_for_backward(images, gate)
        return images * gate

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        images, gate = context.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            return gradient * gate, (gradient * images).sum((1, 2), keepdim=True)
        to_images, to_gate = torch.empty_like(images), gate.new_empty(gate.shape)
        values, count = (gradient.contiguous(), images, gate.contiguous(), to_images, to_gate), len(images)
        loops().run(loops().gate_gradients, *values, count, images.numel() // count, images.shape[3])
        return to_images, to_gate
