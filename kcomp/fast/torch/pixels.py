"""The scaling of pixels that a network begins with, in one pass on PyTorch on a CPU; each layer of Keras makes two."""

from typing import Any

import keras
import numpy as np
import torch

from kcomp.fast.torch.loop_arguments import exported, transformed


def rescaled(layer: Any, inputs: Any) -> Any:
    """What Rescaling's `call` returns, or None for what only Keras's own covers."""
    return scaled(inputs, layer.scale, layer.offset) if suits(layer, inputs) else None


def standardised(both: Any, images: Any) -> Any:
    """What Rescaling and Normalization after it return, or None."""
    rescaling, normalisation = both.layers
    own = not normalisation.invert and tuple(normalisation.axis) in ((), (-1,), (3,))
    if not own or not suits(rescaling, images):
        return None
    mean, variance = (np.asarray(value, np.float64).ravel() for value in (normalisation.mean, normalisation.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return scaled(images, rescaling.scale / deviation, (rescaling.offset - mean) / deviation)


def suits(layer: Any, images: Any) -> bool:
    """Whether a layer is Rescaling itself, with a number for all or for each channel of images (N, H, W, C)."""
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
    """images * factor + shift, which are numbers or arrays (C,)."""
    count, height, width, channels = images.shape
    # a whole line at once: three channels fill no register
    factor, shift = (
        torch.from_numpy(np.tile(np.broadcast_to(np.asarray(value, np.float32), channels), width))
        for value in (factor, shift)
    )
    return torch.addcmul(shift, images.view(count, height, width * channels), factor).view(images.shape)
