"""Depthwise convolutions, with one filter for each channel, and their gradients on a CPU.

oneDNN 3.12 takes up to twenty times as long for the weight gradient of kernels wider than 3. If the padding of
opposite sides differs, PyTorch copies the images first.

A thread computes bands of an image's rows, one row after the other, because sequential reads are fastest. It copies
each row and its padding into blocks of sixteen channels. The blocks stay in the core's cache while the kernel is
applied. Array shapes are those of kcomp.fast.torch.depthwise.
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
from kcomp.fast.cpu_loops.machine_code import inline, loop, run, share, thread

__all__ = ["AT_ONCE", "LANES", "correlate", "run", "weight_gradient"]

AT_ONCE = 4  # outputs computed together; their sums fill half of the registers of AVX2


@inline
def fill(target, count):
    """Write zeros to `count` pixels of a block."""
    for number in range(count):
        store(zero(), target + number * BYTES)


@inline
def copy(source, apart, target, distance, count):
    """Copy `count` blocks of sixteen channels. Sources are `apart` bytes apart, targets are `distance` bytes apart."""
    for _ in range(count):
        store(load(source), target)
        source += apart
        target += distance


@inline
def copy_row(source, width, blocks, target, padded, distance):
    """Copy a row of pixels into `blocks` areas, one for each block of sixteen channels.

    Each area has space for `padded` pixels. The copied pixels are `distance` pixels apart.
    """
    for _ in range(width):
        copy(source, BYTES, target, padded * BYTES, blocks)
        source += blocks * BYTES
        target += distance * BYTES


@inline
def band_of(unit, bands, rows):
    """Return the number of the image that a unit of work belongs to, and the start and end of its rows.

    A unit of work is one band of rows of one image. Each image has `bands` bands.
    """
    band, each = unit % bands, (rows + bands - 1) // bands
    return unit // bands, min(band * each, rows), min((band + 1) * each, rows)


@loop(17)
def correlate(arguments):
    """Correlate images with a kernel.

    Arguments: images (N, height, width, channels); kernel (size, size, channels); outputs (N, high, wide, channels),
    written; work memory, float32 (threads, blocks * size * (size + padded) + wide + AT_ONCE, LANES); bands of an image;
    N; height; width; channels; high; wide; size; stride; distance; zeros above; zeros to the left; pixels of a padded
    row.

    Pixel (y, x) of an image is placed at (y * distance, x * distance), with zeros between pixels. The gradient of
    a strided convolution is therefore a correlation too.
    """
    images, kernel, outputs, work, bands = arguments[0][:5]
    count, height, width, channels, high, wide, size, stride, distance, top, left, padded = arguments[0][5:]
    blocks, pixel = channels // LANES, 4 * channels
    start, stop = share(count * bands, 1)
    weights = work + thread() * (blocks * size * (size + padded) + wide + AT_ONCE) * BYTES
    lines = weights + blocks * size * size * BYTES  # a ring of `size` lines of the image
    line = lines + blocks * size * padded * BYTES  # one line of the outputs
    copy_row(kernel, size * size, blocks, weights, size * size, 1)
    fill(lines, blocks * size * padded)
    for unit in range(start, stop):
        image, begin, end = band_of(unit, bands, high)
        ready = 0  # number of lines copied so far
        for y in range(begin, end):
            above = y * stride - top
            below = min((above + size - 1) // distance + 1, height)
            ready = max(ready, below - size)
            while ready < below:
                source, slot = images + (image * height + ready) * width * pixel, ready % size
                copy_row(source, width, blocks, lines + (slot * blocks * padded + left) * BYTES, padded, distance)
                ready += 1
            # Rows of the kernel that meet lines of the image: upper, upper + distance, ..., below `lower`.
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
    """Return the loop that adds up the gradient of a kernel of size x size.

    Arguments of the loop: gradient of the outputs (N, high, wide, channels); images (N, height, width, channels); sums
    (threads, blocks, size, size, LANES), zero at first; work memory, float32 (threads, blocks, padded + size * size,
    LANES); bands of an image; N; height; width; channels; high; wide; stride; zeros above; zeros to the left; pixels of
    a padded row. The sums of one kernel row stay in registers.
    """

    @loop(15)
    def weight_gradient(arguments):
        gradient, images, sums, work, bands = arguments[0][:5]
        count, height, width, channels, high, wide, stride, top, left, padded = arguments[0][5:]
        blocks, pixel = channels // LANES, 4 * channels
        start, stop = share(count * bands, 1)
        line = work + thread() * blocks * (padded + size * size) * BYTES  # one line of the image
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
                            each = add_products(each, load(source), at, BYTES)
                            source += pixel
                            at += stride * BYTES
                        store_each(each, place, BYTES)
            for number in range(blocks * size * size):
                place = totals + number * BYTES
                store(add(load(place), load(kernel + number * BYTES)), place)

    return weight_gradient
