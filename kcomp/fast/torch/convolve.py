"""Convolutions by PyTorch's own operations for images in Keras's layout (N, H, W, C)."""

from typing import Any

import torch
from torch.nn import functional

from kcomp.fast.torch.loop_arguments import exported


def convolve(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any, groups: int = 1) -> Any:
    """Return the convolution of images (N, H, W, C).

    The kernel is (F, C / groups, height, width), as in PyTorch. Padding is ((top, bottom), (left, right)) in pixels.
    """
    images = images.permute(0, 3, 1, 2)  # a view in PyTorch's channels_last memory format, no copy
    (top, bottom), (left, right) = padding
    if (top, left) != (bottom, right):  # conv2d pads both sides equally; `pad` copies the images
        images, top, left = functional.pad(images, (left, right, top, bottom)), 0, 0
    return functional.conv2d(images, kernel, bias, tuple(strides), (top, left), groups=groups).permute(0, 2, 3, 1)


def pack_kernel(kernel: Any, images: Any, strides: Any, padding: Any, groups: int = 1) -> Any:
    """Return a kernel in the memory order that oneDNN, PyTorch's library for CPUs, uses for images of this size.

    The kernel is (F, C / groups, height, width). Return None if oneDNN cannot compute the convolution.
    """
    (top, bottom), (left, right) = padding
    plain = (
        type(images) is torch.Tensor and images.device.type == "cpu" and images.dtype == kernel.dtype == torch.float32
    )
    has_operations = hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight") and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )
    available = has_operations and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    if not (plain and available) or (top, left) != (bottom, right) or exported():
        return None
    shape = [len(images), images.shape[3], *images.shape[1:3]]
    order = torch._C._nn.mkldnn_reorder_conv2d_weight
    return order(kernel.contiguous().to_mkldnn(), [top, left], list(strides), [1, 1], groups, shape)


def convolve_packed(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any, groups: int = 1) -> Any:
    """Return the same convolution as `convolve`, for a kernel from `pack_kernel`. Gradients are not available."""
    (top, _), (left, _) = padding
    images = images.permute(0, 3, 1, 2)
    # the operation that TorchInductor calls; "none" means no activation
    run = torch.ops.mkldnn._convolution_pointwise
    outputs = run(images, kernel, bias, [top, left], list(strides), [1, 1], groups, "none", [], "")
    return outputs.permute(0, 2, 3, 1)


def times_matrix(vectors: Any, matrix: Any, bias: Any) -> Any:
    """Return the 1 x 1 convolution of images with one pixel (N, 1, 1, C) by a matrix (C, F) and a bias (F,)."""
    return torch.addmm(bias, vectors[:, 0, 0], matrix)[:, None, None]
