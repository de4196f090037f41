"""Pooling, reshaping, products and sums on PyTorch, as in squeeze and excitation (Hu et al. 2018) and shortcuts.

Keras's checks take longer than the arithmetic of these layers. Each function takes a layer and its inputs, and returns
the layer's output, or None where the layer's own `call` must run.
"""

import functools
from typing import Any

import keras
import torch

from kcomp.fast.torch.loop_arguments import covered, exported, loops


def pooled(layer: Any, inputs: Any) -> Any:
    """Return the means of (N, H, W, C) over H and W.

    The division follows the sum. The gradient of the sum, equal at each pixel, then needs no array of the images' size.
    """
    own = type(layer) is keras.layers.GlobalAveragePooling2D and layer.data_format == "channels_last"
    if not own or exported() or not torch.is_tensor(inputs) or inputs.dtype != torch.float32:
        return None
    return inputs.sum((1, 2), layer.keepdims) / float(inputs.shape[1] * inputs.shape[2])


def reshaped(layer: Any, inputs: Any) -> Any:
    plain = type(layer) is keras.layers.Reshape and -1 not in layer.target_shape and torch.is_tensor(inputs)
    return inputs.reshape(inputs.shape[0], *layer.target_shape) if plain else None


def multiplied(layer: Any, inputs: Any) -> Any:
    return functools.reduce(gated, inputs) if merges(layer, keras.layers.Multiply, inputs) else None


def added(layer: Any, inputs: Any) -> Any:
    return functools.reduce(torch.add, inputs) if merges(layer, keras.layers.Add, inputs) else None


def merges(layer: Any, kind: Any, values: Any) -> bool:
    """Return whether a layer is of class `kind` and its inputs are tensors of one type and rank, without masks."""
    return (
        type(layer) is kind
        and isinstance(values, list | tuple)
        and all(torch.is_tensor(value) and not hasattr(value, "_keras_mask") for value in values)
        and len({(value.dtype, value.ndim) for value in values}) == 1
    )


def gated(images: Any, gate: Any) -> Any:
    """Return the product of images (N, H, W, C) and a gate (N, 1, 1, C), or of any two tensors."""
    learns = torch.is_grad_enabled() and images.requires_grad and gate.requires_grad
    if not learns or images.ndim != 4 or not covered(images):
        return images * gate
    per_channel = gate.shape == (images.shape[0], 1, 1, images.shape[3])
    return Gated.apply(images, gate) if per_channel else images * gate


class Gated(torch.autograd.Function):
    """A product with both gradients in one pass. PyTorch writes the whole product with the images before it sums."""

    @staticmethod
    def forward(context: Any, images: Any, gate: Any) -> Any:
        context.save_for_backward(images, gate)
        return images * gate

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        images, gate = context.saved_tensors
        if torch.is_grad_enabled():  # the caller needs a gradient of this gradient
            return gradient * gate, (gradient * images).sum((1, 2), keepdim=True)
        to_images, to_gate = torch.empty_like(images), gate.new_empty(gate.shape)
        values, count = (gradient.contiguous(), images, gate.contiguous(), to_images, to_gate), len(images)
        work, sums = work_of(images.shape[3])
        code = loops("squeeze")
        code.run(code.gate_gradients, *values, work, sums, count, images.numel() // count, images.shape[3])
        return to_images, to_gate


def work_of(channels: int) -> tuple[Any, Any]:
    """Return memory for the threads' sums: float32 for some pixels, float64 for all."""
    threads = torch.get_num_threads()
    return torch.empty(threads, channels), torch.empty(threads, channels, dtype=torch.float64)
