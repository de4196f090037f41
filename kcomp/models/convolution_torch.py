"""Convolutions and batch normalisation on PyTorch without layout copies; kcomp.models.convolution puts them to use.

Images are (N, H, W, C), kernels (height, width, in, out), as Keras keeps them.
"""

from typing import Any

import torch
from torch.nn import functional


def dense(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any, groups: int = 1) -> Any:
    """Return the convolution of images (N, H, W, C) with a kernel (height, width, C / groups, F), channels_last."""
    images = images.permute(0, 3, 1, 2)  # a view, in what PyTorch calls channels_last memory: nothing is copied
    kernel, ((top, bottom), (left, right)) = kernel.permute(3, 2, 0, 1), padding
    if (top, left) != (bottom, right):  # conv2d pads both sides alike; this copies the images
        images, top, left = functional.pad(images, (left, right, top, bottom)), 0, 0
    return functional.conv2d(images, kernel, bias, tuple(strides), (top, left), groups=groups).permute(0, 2, 3, 1)


def depthwise(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any) -> Any:
    """Return the convolution of each channel with its own (height, width) of the kernel."""
    return dense(images, kernel[:, :, None], bias, strides, padding, groups=images.shape[-1])


def normalise(
    inputs: Any, gamma: Any, beta: Any, moving_mean: Any, moving_variance: Any, epsilon: float, learns: bool
) -> tuple[Any, Any, Any] | None:
    """Normalise in one pass; see kcomp.models.convolution._normalise."""
    channels_first, count = inputs.movedim(-1, 1), inputs.numel() // max(inputs.shape[-1], 1)
    if learns and count < 2:  # PyTorch refuses a variance of one value
        return None
    if learns:
        # Momentum 1 leaves the batch's own statistics here; PyTorch divides the variance by count - 1, Keras by count.
        mean, variance = torch.zeros_like(moving_mean), torch.zeros_like(moving_variance)
        outputs = functional.batch_norm(
            channels_first, mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon
        )
        return outputs.movedim(1, -1), mean, variance * ((count - 1) / count)
    if torch.is_grad_enabled() and any(value is not None and value.requires_grad for value in (gamma, beta)):
        outputs = functional.batch_norm(channels_first, moving_mean, moving_variance, gamma, beta, eps=epsilon)
        return outputs.movedim(1, -1), None, None
    # Nothing here learns: a multiply-add is faster, and its gradient needs no reductions.
    scale = torch.rsqrt(moving_variance + epsilon) * (1.0 if gamma is None else gamma)
    shift = -moving_mean * scale
    return torch.addcmul(shift if beta is None else shift + beta, inputs, scale), None, None
