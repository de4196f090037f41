"""Compiled loops for depthwise convolutions (one filter for each channel) and for their gradients, on a CPU.

Each thread computes bands of successive image rows. It copies a row, with its padding, into blocks of sixteen channels.
The blocks stay in the core's cache while the kernel is applied.
"""

import functools
from typing import Any

from kcomp.fast.cpu_loops.lanes import (
    BYTES,
    LANES,
    add,
    add_products,
    each_of,
    load,
    load_each,
    store,
    store_each,
    zero,
)
from kcomp.fast.cpu_loops.machine_code import inline, loop, range_of_thread, run, thread

__all__ = ["AT_ONCE", "LANES", "correlate", "run", "weight_gradient"]

AT_ONCE = 4  # output pixels computed together; their sums fill half of the registers of AVX2


@inline
def fill(target, count):
    """Write zeros to `count` successive pixels of sixteen channels, from the address `target`."""
    for number in range(count):
        store(zero(), target + number * BYTES)


@inline
def copy(source, apart, target, distance, count):
    """Copy `count` groups of sixteen float32 numbers.

    source: address of the first group to read. The next group is `apart` bytes further.
    target: address of the first group to write. The next group is `distance` bytes further.
    """
    for _ in range(count):
        store(load(source), target)
        source += apart
        target += distance


@inline
def copy_row(source, width, blocks, target, padded, distance):
    """Copy a row of pixels, and divide its channels into `blocks` blocks of sixteen.

    The target has an area with space for `padded` pixels for each block. In the target, successive pixels are
    `distance` pixels apart.
    """
    for _ in range(width):
        copy(source, BYTES, target, padded * BYTES, blocks)
        source += blocks * BYTES
        target += distance * BYTES


@inline
def band_of(unit, bands, rows):
    """Return three numbers for band number `unit`: its image, its first row, and the end of its rows (exclusive).

    A band is a set of successive rows of one image.

    bands: how many bands each image has.
    rows:  how many rows each image has.
    """
    band, each = unit % bands, (rows + bands - 1) // bands
    return unit // bands, min(band * each, rows), min((band + 1) * each, rows)


@loop(17)
def correlate(arguments):
    """Correlate images with a depthwise kernel.

    outputs[n, y, x] = sum over i, j of kernel[i, j] * images[n, y * stride - top + i, x * stride - left + j]

    Outside an image, the pixels are zeros. With a `distance` above 1, zeros are first inserted between the pixels of an
    image: pixel (y, x) moves to (y * distance, x * distance).

    Arguments, in this order:

    images:    (N, height, width, channels).
    kernel:    (size, size, channels).
    outputs:   (N, high, wide, channels), written.
    work:      memory for float32 numbers (threads, blocks * size * (size + padded) + wide + AT_ONCE, LANES), where
               blocks = channels / LANES.
    bands:     in how many bands of rows each image is divided.
    N, height, width, channels, high, wide, size: the numbers in the shapes above.
    stride, distance: as above.
    top, left: how many rows and columns of zeros precede the image.
    padded:    how many pixels the work memory has for a row of the image with its zeros.
    """
    images, kernel, outputs, work, bands = arguments[0][:5]
    count, height, width, channels, high, wide, size, stride, distance, top, left, padded = arguments[0][5:]
    blocks, pixel = channels // LANES, 4 * channels
    start, stop = range_of_thread(count * bands, 1)
    weights = work + thread() * (blocks * size * (size + padded) + wide + AT_ONCE) * BYTES
    lines = weights + blocks * size * size * BYTES  # the last `size` rows of the image; a new row replaces the oldest
    line = lines + blocks * size * padded * BYTES  # one row of the outputs
    copy_row(kernel, size * size, blocks, weights, size * size, 1)
    fill(lines, blocks * size * padded)
    for unit in range(start, stop):
        image, begin, end = band_of(unit, bands, high)
        ready = 0  # how many rows of the image are copied so far
        for y in range(begin, end):
            above = y * stride - top
            below = min((above + size - 1) // distance + 1, height)
            ready = max(ready, below - size)
            while ready < below:
                source, slot = images + (image * height + ready) * width * pixel, ready % size
                copy_row(source, width, blocks, lines + (slot * blocks * padded + left) * BYTES, padded, distance)
                ready += 1
            # Kernel rows upper, upper + distance, ... below `lower` meet rows of the image. The others meet zeros.
            upper = max(0, -above)
            upper += -(above + upper) % distance
            lower = min(size, height * distance - above)
            place = (above + upper) // distance % size
            for block in range(blocks):
                factors = weights + block * size * size * BYTES
                for x in range(0, wide, AT_ONCE):
                    sums, slot = each_of(AT_ONCE, zero()), place
                    for row in range(upper, lower, distance):
                        seen = lines + ((slot * blocks + block) * padded + x * stride) * BYTES
                        factor = factors + row * size * BYTES
                        for column in range(size):
                            sums = add_products(
                                sums, load(factor + column * BYTES), seen + column * BYTES, stride * BYTES
                            )
                        slot = slot + 1 if slot + 1 < size else 0
                    store_each(sums, line + x * BYTES, BYTES)
                copy(line, BYTES, outputs + (image * high + y) * wide * pixel + block * BYTES, pixel, wide)


@functools.cache
def weight_gradient(size: int) -> Any:
    """Return the loop that computes the gradient of a depthwise kernel with shape (size, size, channels).

    The loop takes these arguments, in this order:

    gradient:  gradient of the convolution's outputs (N, high, wide, channels).
    images:    input of the convolution (N, height, width, channels).
    sums:      (threads, blocks, size, size, LANES), zeros at first, where blocks = channels / LANES. Each thread adds
               its part of the gradient here.
    work:      memory for float32 numbers (threads, blocks, padded + size * size, LANES).
    bands:     in how many bands of rows each image is divided.
    N, height, width, channels, high, wide: the numbers in the shapes above.
    stride:    stride of the convolution.
    top, left: how many rows and columns of zeros the convolution adds before the image.
    padded:    how many pixels the work memory has for a row of the image with its zeros.
    """

    @loop(15)
    def weight_gradient(arguments):
        gradient, images, sums, work, bands = arguments[0][:5]
        count, height, width, channels, high, wide, stride, top, left, padded = arguments[0][5:]
        blocks, pixel = channels // LANES, 4 * channels
        start, stop = range_of_thread(count * bands, 1)
        line = work + thread() * blocks * (padded + size * size) * BYTES  # one row of the image
        kernel, totals = line + blocks * padded * BYTES, sums + thread() * size * size * pixel
        fill(line, blocks * padded)
        for unit in range(start, stop):
            image, begin, end = band_of(unit, bands, height)
            fill(kernel, blocks * size * size)
            for seen in range(begin, end):
                source = images + (image * height + seen) * width * pixel
                copy_row(source, width, blocks, line + left * BYTES, padded, 1)
                for block in range(blocks):
                    for row in range(size):
                        y = (seen + top - row) // stride
                        if y * stride != seen + top - row or y < 0 or y >= high:
                            continue
                        source = gradient + (image * high + y) * wide * pixel + block * BYTES
                        at = line + block * padded * BYTES
                        place = kernel + (block * size + row) * size * BYTES
                        each = load_each(size, place, BYTES)
                        for _ in range(wide):
                            each = add_products(each, load(source), at, BYTES)  # one sum for each kernel column
                            source += pixel
                            at += stride * BYTES
                        store_each(each, place, BYTES)
            for number in range(blocks * size * size):
                place = totals + number * BYTES
                store(add(load(place), load(kernel + number * BYTES)), place)

    return weight_gradient
