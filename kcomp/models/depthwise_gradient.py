"""The weight gradient of a depthwise convolution on small feature maps, for PyTorch on a CPU."""

from typing import Any

import torch
from torch.nn import functional

TILE = 3  # height and width of the kernels whose weight gradient oneDNN computes fast
LARGEST_MAP = 64  # pixels of an output for which tiles were measured to be faster


def tiles_pay(kernel: Any, strides: Any, padded: Any) -> bool:
    """Whether the weight gradient from tiles is the faster one, for a kernel (C, 1, height, width) and the height and
    width of the padded images."""
    sides = zip(padded, kernel.shape[2:], strides, strict=True)
    rows, columns = ((size - window) // stride + 1 for size, window, stride in sides)
    return bool(min(kernel.shape[2:]) > TILE and 0 < rows * columns <= LARGEST_MAP)


class TiledGradient(torch.autograd.Function):
    """A depthwise convolution without padding whose weight gradient is put together from 3 x 3 tiles.

    On feature maps of up to 8 x 8, oneDNN 3.12 takes 2 to 5 times as long for the weight gradient of a 5 x 5 or 7 x 7
    kernel as for all the 3 x 3 kernels that cover it.
    """

    @staticmethod
    def forward(context: Any, images: Any, kernel: Any, strides: tuple[int, int]) -> Any:
        context.save_for_backward(images, kernel)
        context.strides = strides
        return functional.conv2d(images, kernel, None, strides, groups=images.shape[1])

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        images, kernel = context.saved_tensors
        wanted = [context.needs_input_grad[0], False]
        to_images = gradients(gradient, images, kernel, context.strides, wanted)[0] if wanted[0] else None
        to_kernel = torch.empty_like(kernel)
        tile = kernel[:, :, :TILE, :TILE].contiguous()
        rows, columns = (
            (size - 1) * stride + TILE for size, stride in zip(gradient.shape[2:], context.strides, strict=True)
        )
        for top in tile_starts(kernel.shape[2]):
            for left in tile_starts(kernel.shape[3]):
                seen = images[:, :, top : top + rows, left : left + columns]
                found = gradients(gradient, seen, tile, context.strides, [False, True])[1]
                to_kernel[:, :, top : top + TILE, left : left + TILE] = found
        return to_images, to_kernel, None


def tile_starts(size: int) -> list[int]:
    """Where tiles that cover 0 to size - 1 begin; the last may overlap the one before."""
    return sorted({*range(0, size - TILE + 1, TILE), size - TILE})


def gradients(gradient: Any, images: Any, kernel: Any, strides: Any, wanted: list[bool]) -> Any:
    """The gradients of an unpadded depthwise convolution for (images, kernel); None for those that are not wanted."""
    return torch.ops.aten.convolution_backward(
        gradient, images, kernel, None, strides, (0, 0), (1, 1), False, (0, 0), images.shape[1], [*wanted, False]
    )[:2]
