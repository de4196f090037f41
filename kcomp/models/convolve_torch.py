"""PyTorch's convolution of images as Keras keeps them, (N, H, W, C), without copies of their layout."""

from typing import Any

from torch.nn import functional


def convolve(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any, groups: int = 1) -> Any:
    """Return the convolution of (N, H, W, C) with a kernel in PyTorch's order, (F, C / groups, height, width)."""
    images = images.permute(0, 3, 1, 2)  # a view, in what PyTorch calls channels_last memory: nothing is copied
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right):  # conv2d pads both sides alike; this copies the images
        images, top, left = functional.pad(images, (left, right, top, bottom)), 0, 0
    return functional.conv2d(images, kernel, bias, tuple(strides), (top, left), groups=groups).permute(0, 2, 3, 1)
