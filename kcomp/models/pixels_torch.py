"""The scaling of pixels that a network begins with, in one pass on PyTorch on a CPU; each layer of Keras makes two."""

from typing import Any

import keras
import numpy as np
import torch

from kcomp.models.convolve_torch import exported


def rescaled(layer: Any, images: Any) -> Any:
    """What Rescaling's `call` returns, or None for what only Keras's own covers."""
    if type(layer) is not keras.layers.Rescaling or not covered(images):
        return None
    return scaled(images, layer.scale, layer.offset)


def standardised(both: Any, images: Any) -> Any:
    """What Rescaling and Normalization after it return, or None."""
    rescaling, normalisation = both.layers
    if not covered(images) or normalisation.invert or tuple(normalisation.axis) not in ((-1,), (3,)):
        return None
    mean, variance = (np.asarray(value, np.float64).ravel() for value in (normalisation.mean, normalisation.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return scaled(images, rescaling.scale / deviation, (rescaling.offset - mean) / deviation)


def covered(images: Any) -> bool:
    plain = torch.is_tensor(images) and images.ndim == 4 and images.dtype == torch.float32
    return plain and not exported() and images.device.type == "cpu" and images.is_contiguous()


def scaled(images: Any, factor: Any, shift: Any) -> Any:
    """images * factor + shift, which are numbers or arrays (C,)."""
    _, _, width, channels = images.shape
    # a whole line at once: three channels fill no register
    factor, shift = (
        torch.from_numpy(np.tile(np.broadcast_to(np.asarray(value, np.float32), channels), width))
        for value in (factor, shift)
    )
    return torch.addcmul(shift, images.view(*images.shape[:2], -1), factor).view(images.shape)
