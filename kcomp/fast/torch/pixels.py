"""Pixel scaling at the start of a network in one pass, for PyTorch on a CPU. Each Keras layer makes two passes."""

from typing import Any

import keras
import numpy as np
import torch

from kcomp.fast.torch.loop_arguments import exported, transformed


def rescaled(layer: Any, inputs: Any) -> Any:
    """Return the output of Rescaling, or None where the layer's own `call` must run."""
    return scaled(inputs, layer.scale, layer.offset) if suits(layer, inputs) else None


def standardised(both: Any, images: Any) -> Any:
    """Return the output of Rescaling followed by Normalization, or None."""
    rescaling, normalisation = both.layers
    own = not normalisation.invert and tuple(normalisation.axis) in ((), (-1,), (3,))
    if not own or not suits(rescaling, images):
        return None
    mean, variance = (np.asarray(value, np.float64).ravel() for value in (normalisation.mean, normalisation.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return scaled(images, rescaling.scale / deviation, (rescaling.offset - mean) / deviation)


def suits(layer: Any, images: Any) -> bool:
    """Return whether `scaled` computes a Rescaling with one number, or one a channel, for images (N, H, W, C)."""
    if type(layer) is not keras.layers.Rescaling or type(images) is not torch.Tensor or images.ndim != 4:
        return False
    known = (), (1,), images.shape[3:]
    return (
        images.dtype == torch.float32
        and layer.compute_dtype == "float32"
        and images.device.type == "cpu"
        and images.is_contiguous()
        and keras.config.image_data_format() == "channels_last"
        and np.shape(layer.scale) in known
        and np.shape(layer.offset) in known
        and not exported()
        and not transformed()
    )


def scaled(images: Any, factor: Any, shift: Any) -> Any:
    """Return images * factor + shift; factor and shift are numbers or arrays (C,)."""
    count, height, width, channels = images.shape
    # a whole line at once, because three channels do not fill a register
    factor, shift = (
        torch.from_numpy(np.tile(np.broadcast_to(np.asarray(value, np.float32), channels), width))
        for value in (factor, shift)
    )
    return torch.addcmul(shift, images.view(count, height, width * channels), factor).view(images.shape)
