"""Passes of squeeze and excitation: silu with the means of its outputs, and both gradients of the product with a gate.

A thread takes whole images and sums their pixels.
"""

from kcomp.fast.loops import FLUSH, ONE, ZERO, inverse_exponential
from kcomp.fast.machine_code import doubles, floats, inline, loop, run, share, thread

__all__ = ["gate_gradients", "run", "silu_excited", "silu_with_means"]


@inline
def flush(some, total):
    """Add what was summed in float32 to the sums in float64."""
    for j in range(len(some)):
        total[j] += some[j]
        some[j] = ZERO


@inline
def silu_and_sum(values, start, pixels, channels, some, all_of):
    """Write silu over the pixels of an image, and their sums into `all_of`; `some` is to work in."""
    for j in range(channels):
        some[j] = ZERO
        all_of[j] = 0.0
    for pixel in range(pixels):
        x = floats(values, start + pixel * channels, channels)
        for j in range(channels):
            x[j] = x[j] / (ONE + inverse_exponential(x[j]))
        for j in range(channels):
            some[j] += x[j]
        if pixel % FLUSH == FLUSH - 1:
            flush(some, all_of)
    flush(some, all_of)


@inline
def product(vector, matrix, bias, found):
    """found = vector @ matrix + bias"""
    shift, size = floats(bias, 0, len(found)), len(found)
    for j in range(size):
        found[j] = shift[j]
    for i in range(len(vector)):
        factor, row = vector[i], floats(matrix, i * size, size)
        for j in range(size):
            found[j] += factor * row[j]


@loop(7)
def silu_with_means(arguments):
    """values (count, size), means (count, channels; written), work, float32, and sums, float64 (threads, channels),
    count, size, channels"""
    values, means, work, sums, count, size, channels = arguments[0]
    start, stop = share(count, 1)
    some, all_of = floats(work, thread() * channels, channels), doubles(sums, thread() * channels, channels)
    for image in range(start, stop):
        mean, pixels = floats(means, image * channels, channels), size // channels
        silu_and_sum(values, image * size, pixels, channels, some, all_of)
        for j in range(channels):
            mean[j] = all_of[j] / pixels


@loop(12)
def silu_excited(arguments):
    """values (count, size), a matrix (channels, hidden) and its bias, another (hidden, channels) and its bias, work and
    sums as above, work of (threads, hidden), count, size, channels, hidden

    silu is written over the values, and each channel of an image is multiplied by its gate: the sigmoid of the second
    product, of silu of the first, of the image's means.
    """
    values, first, first_bias, second, second_bias, work, sums, between, count, size, channels, hidden = arguments[0]
    start, stop = share(count, 1)
    some, all_of = floats(work, thread() * channels, channels), doubles(sums, thread() * channels, channels)
    squeezed, pixels = floats(between, thread() * hidden, hidden), size // channels
    for image in range(start, stop):
        silu_and_sum(values, image * size, pixels, channels, some, all_of)
        for j in range(channels):
            some[j] = all_of[j] / pixels
        product(some, first, first_bias, squeezed)
        for j in range(hidden):
            squeezed[j] = squeezed[j] / (ONE + inverse_exponential(squeezed[j]))
        product(squeezed, second, second_bias, some)
        for j in range(channels):
            some[j] = ONE / (ONE + inverse_exponential(some[j]))
        for pixel in range(pixels):
            x = floats(values, image * size + pixel * channels, channels)
            for j in range(channels):
                x[j] *= some[j]


@loop(10)
def gate_gradients(arguments):
    """gradient and images (count, size), gate (count, channels), gradients of the images and of the gate (written),
    work and sums as above, count, size, channels"""
    gradient, images, gate, to_images, to_gate, work, sums, count, size, channels = arguments[0]
    start, stop = share(count, 1)
    some, all_of = floats(work, thread() * channels, channels), doubles(sums, thread() * channels, channels)
    for image in range(start, stop):
        by, written = floats(gate, image * channels, channels), floats(to_gate, image * channels, channels)
        for j in range(channels):
            some[j] = ZERO
            all_of[j] = 0.0
        for pixel in range(size // channels):
            at = image * size + pixel * channels
            g, x, y = floats(gradient, at, channels), floats(images, at, channels), floats(to_images, at, channels)
            for j in range(channels):
                y[j] = g[j] * by[j]
            for j in range(channels):  # apart, for the compiler
                some[j] += g[j] * x[j]
            if pixel % FLUSH == FLUSH - 1:
                flush(some, all_of)
        flush(some, all_of)
        for j in range(channels):
            written[j] = all_of[j]
