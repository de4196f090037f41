"""Depthwise convolutions for PyTorch on a CPU, by kcomp's compiled loops where these are faster.

Images are (N, height, width, channels), kernels (size, size, channels). Padding is ((top, bottom), (left, right)) in
pixels.
"""

import functools
import math
from typing import Any

import torch

from kcomp.fast.torch.convolve import convolve
from kcomp.fast.torch.loop_arguments import covered, differentiable_gradients, loops

BLOCK = 16  # channels that a loop computes together: LANES of kcomp.fast.cpu_loops.lanes
BANDS = 4  # each thread gets at least this many bands (sets of successive rows of an image)


def suits(images: Any, kernel: Any, strides: Any, padding: Any) -> bool:
    """Return whether the compiled loops support a depthwise convolution, and are faster than PyTorch for it."""
    size, columns, channels = kernel.shape
    learns = torch.is_grad_enabled() and (kernel.requires_grad or images.requires_grad)
    whole = size == columns > 1 and strides[0] == strides[1] and channels % BLOCK == 0
    zeros = [number for side in padding for number in side]
    # oneDNN is slow for gradients of wide kernels, and PyTorch copies the images if the padding is uneven
    return bool((learns or is_uneven(padding)) and whole and max(zeros) < size and covered(images))


def is_uneven(padding: Any) -> bool:
    """Return whether the padding differs above and below, or left and right."""
    return any(before != after for before, after in padding)


def depthwise(images: Any, kernel: Any, stride: int, padding: Any) -> Any:
    return Depthwise.apply(images, kernel, stride, padding)


def correlate(images: Any, kernel: Any, padding: Any, *, stride: int = 1, distance: int = 1) -> Any:
    """Return the correlation of images with a depthwise kernel, (N, rows, columns, channels).

    With a `distance` above 1, distance - 1 rows and columns of zeros are first inserted between the pixels.
    """
    code, size, (count, height, width, channels) = loops("depthwise"), len(kernel), images.shape
    high, wide = (
        ((pixels - 1) * distance + 1 + before + after - size) // stride + 1
        for pixels, (before, after) in zip((height, width), padding, strict=True)
    )
    (top, _), (left, _) = padding
    padded = max(left + (width - 1) * distance + 1, (wide + code.AT_ONCE - 2) * stride + size)
    outputs, blocks = images.new_empty(count, high, wide, channels), channels // code.LANES
    lines = blocks * size * (size + padded) + wide + code.AT_ONCE
    work = images.new_empty(torch.get_num_threads(), lines, code.LANES)
    numbers = bands(count), count, height, width, channels, high, wide, size, stride, distance, top, left, padded
    code.run(code.correlate, images, kernel.contiguous(), outputs, work, *numbers)
    return outputs


def bands(count: int) -> int:
    """Return the number of bands (successive rows) of each image with which all threads get about equal work."""
    return math.ceil(BANDS * torch.get_num_threads() / count)


def weight_gradient(gradient: Any, images: Any, size: int, stride: int, padding: Any) -> Any:
    """Return the gradient of the kernel, (size, size, channels). `gradient` is that of the convolution's outputs."""
    code, (count, height, width, channels), (_, high, wide, _) = loops("depthwise"), images.shape, gradient.shape
    (top, _), (left, _) = padding
    padded, threads = max(left + width, (wide - 1) * stride + size), torch.get_num_threads()
    blocks = channels // code.LANES
    sums = images.new_zeros(threads, blocks, size, size, code.LANES)
    work = images.new_empty(threads, blocks, padded + size * size, code.LANES)
    numbers = bands(count), count, height, width, channels, high, wide, stride, top, left, padded
    code.run(code.weight_gradient(size), gradient, images, sums, work, *numbers)
    return sums.sum(0).permute(1, 2, 0, 3).reshape(size, size, channels)


class Depthwise(torch.autograd.Function):
    """The depthwise convolution and its gradients, as an operation that PyTorch can differentiate."""

    @staticmethod
    def forward(context: Any, images: Any, kernel: Any, stride: int, padding: Any) -> Any:
        context.save_for_backward(images, kernel)
        context.stride, context.padding = stride, padding
        if is_uneven(padding):
            return correlate(images, kernel, padding, stride=stride)
        return _by_torch(images, kernel, stride, padding)

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        (images, kernel), needed = context.saved_tensors, context.needs_input_grad[:2]
        stride, padding, size = context.stride, context.padding, len(context.saved_tensors[1])
        if torch.is_grad_enabled():  # the caller needs a gradient of this gradient
            function = functools.partial(_by_torch, stride=stride, padding=padding)
            return *differentiable_gradients(function, (images, kernel), needed, gradient), None, None
        gradient, to_images, to_kernel = gradient.contiguous(), None, None
        if needed[0]:
            # The gradient of the images is the correlation of `gradient` with the flipped kernel.
            sides = zip(images.shape[1:3], gradient.shape[1:3], padding, strict=True)
            around = [
                (size - 1 - before, pixels + before - 1 - (outputs - 1) * stride)
                for pixels, outputs, (before, _) in sides
            ]
            to_images = correlate(gradient, kernel.flip(0, 1), around, distance=stride)
        if needed[1]:
            to_kernel = weight_gradient(gradient, images, size, stride, padding)
        return to_images, to_kernel, None, None


def _by_torch(images: Any, kernel: Any, stride: int, padding: Any) -> Any:
    return convolve(images, kernel.permute(2, 0, 1)[:, None], None, (stride, stride), padding, kernel.shape[-1])
