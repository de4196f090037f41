"""Convolutions and batch normalisation on PyTorch without layout copies; kcomp.models.convolution puts them to use.

Images are (N, H, W, C), kernels (height, width, in, out), as Keras keeps them.
"""

from typing import Any

import torch
from torch.nn import functional

from kcomp.models.depthwise_gradient import TiledGradient, tiles_pay
from kcomp.models.silu_torch import normalised_silu, silu

__all__ = ["dense", "depthwise", "normalise", "normalised_silu", "silu"]


def dense(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any) -> Any:
    """Return the convolution of images (N, H, W, C) with a kernel (height, width, C, F)."""
    if kernel.shape[:2] == (1, 1) and bias is None and images.device.type == "cpu":
        return images[:, :: strides[0], :: strides[1]] @ kernel[0, 0]  # a tenth faster, but a bias would be a pass more
    return convolve(images, kernel.permute(3, 2, 0, 1), bias, strides, padding)


def depthwise(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any) -> Any:
    """Return the convolution of each channel with its own (height, width) of the kernel."""
    kernel = kernel.permute(2, 0, 1)[:, None]
    learns = torch.is_grad_enabled() and kernel.requires_grad and not torch.compiler.is_compiling()  # nor exported
    if learns and images.device.type == "cpu":
        (top, bottom), (left, right) = padding
        padded = images.shape[1] + top + bottom, images.shape[2] + left + right
        if tiles_pay(kernel, strides, padded):
            images = functional.pad(images.permute(0, 3, 1, 2), (left, right, top, bottom))
            outputs = TiledGradient.apply(images, kernel, tuple(strides)).permute(0, 2, 3, 1)
            return outputs if bias is None else outputs + bias
    return convolve(images, kernel, bias, strides, padding, images.shape[-1])


def convolve(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any, groups: int = 1) -> Any:
    """Return the convolution of (N, H, W, C) with a kernel in PyTorch's order, (F, C / groups, height, width)."""
    images = images.permute(0, 3, 1, 2)  # a view, in what PyTorch calls channels_last memory: nothing is copied
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right):  # conv2d pads both sides alike; this copies the images
        images, top, left = functional.pad(images, (left, right, top, bottom)), 0, 0
    return functional.conv2d(images, kernel, bias, tuple(strides), (top, left), groups=groups).permute(0, 2, 3, 1)


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
