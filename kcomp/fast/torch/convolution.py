"""Convolutions and batch normalisation for PyTorch that do not copy images to another memory layout.

Images are (N, H, W, C), kernels (height, width, in, out), as in Keras. Padding is ((top, bottom), (left, right)) in
pixels.
"""

from typing import Any

import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope
from torch.nn import functional

from kcomp.fast.torch import depthwise as depthwise_torch
from kcomp.fast.torch.convolve import convolve, times_matrix


def dense(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any) -> Any:
    """Return the convolution of images (N, H, W, C) with a kernel (height, width, C, F)."""
    if kernel.shape[:2] == (1, 1) and images.device.type == "cpu" and not any(map(any, padding)):
        matrix = kernel.reshape(kernel.shape[2:])  # the gradient of kernel[0, 0] would first be filled with zeros
        if bias is None:
            return images[:, :: strides[0], :: strides[1]] @ matrix  # a tenth faster than the convolution
        if images.shape[1:3] == (1, 1):
            return times_matrix(images, matrix, bias)
        # for more pixels, the convolution is faster: adding a bias to a product takes another pass
    return convolve(images, kernel.permute(3, 2, 0, 1), bias, strides, padding)


def depthwise(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any) -> Any:
    """Return the depthwise convolution of images (N, H, W, C) with a kernel (height, width, C)."""
    if depthwise_torch.suits(images, kernel, strides, padding):
        outputs = depthwise_torch.depthwise(images, kernel, strides[0], padding)
        return outputs if bias is None else outputs + bias
    kernel = kernel.permute(2, 0, 1)[:, None]
    return convolve(images, kernel, bias, strides, padding, images.shape[-1])


def move(variable: Any, average: Any, batch_value: Any, momentum: float) -> None:
    """Update a moving average: average * momentum + batch_value * (1 - momentum).

    variable:    the Keras variable to update.
    average:     the variable's current value.
    batch_value: the mean or variance of the batch.
    """
    if average.dtype == batch_value.dtype and average is variable.value and not in_stateless_scope():
        with torch.no_grad():
            average.lerp_(batch_value, 1.0 - momentum)
    else:
        variable.assign(average * momentum + batch_value * (1.0 - momentum))


def normalise(
    inputs: Any, gamma: Any, beta: Any, moving_mean: Any, moving_variance: Any, epsilon: float, learns: bool
) -> tuple[Any, Any, Any] | None:
    """Apply batch normalisation. Return three things: outputs, the batch's mean and the batch's variance.

    If `learns` is False, the moving mean and variance are used, and the last two results are None. Return only None if
    `learns` is True and the batch has fewer than two values in each channel.
    """
    channels_first, count = inputs.movedim(-1, 1), inputs.numel() // max(inputs.shape[-1], 1)
    if learns and count < 2:
        return None
    if learns:
        # With momentum 1, batch_norm writes the batch's statistics into these tensors.
        # PyTorch divides the variance by count - 1, Keras by count.
        mean, variance = torch.zeros_like(moving_mean), torch.zeros_like(moving_variance)
        outputs = functional.batch_norm(
            channels_first, mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon
        )
        return outputs.movedim(1, -1), mean, variance * ((count - 1) / count)
    if torch.is_grad_enabled() and any(value is not None and value.requires_grad for value in (gamma, beta)):
        outputs = functional.batch_norm(channels_first, moving_mean, moving_variance, gamma, beta, eps=epsilon)
        return outputs.movedim(1, -1), None, None
    # Here gamma and beta need no gradient. A multiply-add is faster, and its gradient needs no reductions.
    scale = torch.rsqrt(moving_variance + epsilon) * (1.0 if gamma is None else gamma)
    shift = -moving_mean * scale
    return torch.addcmul(shift if beta is None else shift + beta, inputs, scale), None, None
