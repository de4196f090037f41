"""Depthwise convolutions and their gradients on a CPU: each channel of an image with its own filter.

oneDNN 3.12 takes up to twenty times as long for the weight gradient of kernels wider than 3, and where the zeros around
an image are not the same on both sides, PyTorch copies it first.

Loops go over blocks of sixteen channels of one image. Rows are copied, with the zeros around them, to where they stay
in a core's nearest cache. Arrays are those of kcomp.fast.depthwise_torch.
"""

import functools
from typing import Any

from kcomp.fast.lanes import BYTES, LANES, add, add_products, each_of, load, load_each, store, store_each, zero
from kcomp.fast.machine_code import inline, loop, run, share, thread

__all__ = ["AT_ONCE", "LANES", "correlate", "run", "weight_gradient"]

AT_ONCE = 4  # outputs side by side; their sums fill half of the registers of AVX2


@inline
def fill(target, count):
    """Write zeros to so many pixels of a block."""
    for number in range(count):
        store(zero(), target + number * BYTES)


@inline
def copy(source, apart, target, distance, count):
    """Copy a block of each of `count` pixels that lie `apart` bytes, to places at this distance in bytes."""
    for _ in range(count):
        store(load(source), target)
        source += apart
        target += distance


@loop(16)
def correlate(arguments):
    """images (N, height, width, channels), kernel (size, size, channels), outputs (N, high, wide, channels; written),
    work, float32 (threads, size * size + size * padded + wide + AT_ONCE, LANES); N; height; width; channels; high;
    wide; size; stride; distance; zeros before along both sides; pixels of a padded row.

    The pixel y, x of an image is taken to be at y * distance, x * distance, with zeros between: so the gradient of a
    convolution with strides is a correlation too.
    """
    images, kernel, outputs, work = arguments[0][:4]
    count, height, width, channels, high, wide, size, stride, distance, top, left, padded = arguments[0][4:]
    blocks, pixel = channels // LANES, 4 * channels
    start, stop = share(count * blocks, 1)
    weights = work + thread() * (size * size + size * padded + wide + AT_ONCE) * BYTES
    lines = weights + size * size * BYTES  # of the image, as many as the kernel is high, in turn
    line = lines + size * padded * BYTES  # of the outputs
    fill(lines, size * padded)
    for unit in range(start, stop):
        image, block = unit // blocks, unit % blocks * BYTES
        copy(kernel + block, pixel, weights, BYTES, size * size)
        ready = 0  # lines that have been copied
        for y in range(high):
            above = y * stride - top
            below = min((above + size - 1) // distance + 1, height)
            ready = max(ready, below - size)
            while ready < below:
                source = images + (image * height + ready) * width * pixel + block
                copy(source, pixel, lines + (ready % size * padded + left) * BYTES, distance * BYTES, width)
                ready += 1
            # Rows of the kernel that lie on lines of the image: from `upper`, each `distance`, below `lower`.
            upper = max(0, -above)
            upper += -(above + upper) % distance
            lower = min(size, height * distance - above)
            place = (above + upper) // distance % size
            for x in range(0, wide, AT_ONCE):
                sums, slot = each_of(AT_ONCE, zero()), place
                for row in range(upper, lower, distance):
                    seen, factor = lines + (slot * padded + x * stride) * BYTES, weights + row * size * BYTES
                    for column in range(size):
                        sums = add_products(sums, load(factor + column * BYTES), seen + column * BYTES, stride * BYTES)
                    slot = slot + 1 if slot + 1 < size else 0
                store_each(sums, line + x * BYTES, BYTES)
            copy(line, BYTES, outputs + (image * high + y) * wide * pixel + block, pixel, wide)


@functools.cache
def weight_gradient(size: int) -> Any:
    """The loop for kernels of size x size, the sums of one row of which stay in registers."""

    @loop(14)
    def weight_gradient(arguments):
        """gradient (N, high, wide, channels), images (N, height, width, channels), sums (threads, size, size, channels;
        zero at first), work, float32 (threads, padded + size * size, LANES); N; height; width; channels; high; wide;
        stride; zeros before; pixels of a padded row"""
        gradient, images, sums, work = arguments[0][:4]
        count, height, width, channels, high, wide, stride, top, left, padded = arguments[0][4:]
        blocks, pixel = channels // LANES, 4 * channels
        start, stop = share(count * blocks, 1)
        line = work + thread() * (padded + size * size) * BYTES  # of the image
        kernel, totals = line + padded * BYTES, sums + thread() * size * size * pixel
        fill(line, padded)
        for unit in range(start, stop):
            image, block = unit // blocks, unit % blocks * BYTES
            fill(kernel, size * size)
            for seen in range(height):
                source = images + (image * height + seen) * width * pixel + block
                copy(source, pixel, line + left * BYTES, BYTES, width)
                for row in range(size):
                    y = (seen + top - row) // stride
                    if y * stride != seen + top - row or y < 0 or y >= high:
                        continue
                    source, at = gradient + (image * high + y) * wide * pixel + block, line
                    place = kernel + row * size * BYTES
                    each = load_each(size, place, BYTES)
                    for _ in range(wide):
                        each = add_products(each, load(source), at, BYTES)
                        source += pixel
                        at += stride * BYTES
                    store_each(each, place, BYTES)
            for number in range(size * size):
                place = totals + number * pixel + block
                store(add(load(place), load(kernel + number * BYTES)), place)

    return weight_gradient
