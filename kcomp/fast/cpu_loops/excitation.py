"""Compiled loops for silu with squeeze and excitation (Hu et al. 2018) after it, on a CPU.

Squeeze and excitation multiplies each channel of an image by a factor from 0 to 1, its gate. Two small 1 x 1
convolutions compute the gate from the means of the channels.
"""

import numpy as np

from kcomp.fast.cpu_loops.gate import clear, gate_gradients, gate_of, multiply, sum_channels
from kcomp.fast.cpu_loops.machine_code import doubles, floats, inline, loop, range_of_thread, run, thread
from kcomp.fast.cpu_loops.silu import (
    FLUSH,
    ONE,
    ZERO,
    area,
    flush,
    inverse_exponential,
    read_scale_and_shift,
    repeat,
    scale_and_shift,
)

__all__ = ["backward", "forward", "run", "silu_excited"]


@loop(12)
def silu_excited(arguments):
    """Apply silu, then squeeze and excitation, to images in place.

    Arguments, in this order:

    values:       images (count, size), replaced by the result.
    matrix, bias: weights (channels, hidden) and (hidden,) of the first convolution.
    matrix, bias: weights (hidden, channels) and (channels,) of the second convolution.
    work:         memory for float32 numbers (threads, AREAS, row).
    inner:        memory for float64 numbers (threads, row).
    count:        number of images.
    size:         how many numbers an image has.
    row:          how many numbers a row has. A row is several pixels with all their channels.
    channels:     number of channels.
    hidden:       how many outputs the first convolution has.
    """
    values, work, inner = arguments[0][0], arguments[0][5], arguments[0][6]
    count, size, row, channels, hidden = arguments[0][7:]
    start, stop = range_of_thread(count, 1)
    some, by, mean = area(work, 0, row), area(work, 1, row), area(work, 2, row)[:channels]
    between, squeezed = area(work, 3, row)[:hidden], area(work, 4, row)[:hidden]
    all_of = doubles(inner, thread() * row, row)
    for image in range(start, stop):
        at, end = image * size, (image + 1) * size
        clear(some, all_of)
        while at < end:
            pause = min(at + FLUSH * row, end)
            while at < pause:
                x = floats(values, at, min(row, pause - at))
                for j in range(len(x)):
                    x[j] = x[j] / (ONE + inverse_exponential(x[j]))
                for j in range(len(x)):
                    some[j] += x[j]
                at += len(x)
            flush(some, all_of)
        sum_channels(all_of, channels, channels / size, mean)
        gate_of(mean, arguments[0][1:5], between, squeezed, by[:channels])
        repeat(by, channels)
        multiply(values, image * size, end, by)


@loop(23)
def forward(arguments):
    """Apply batch normalisation, silu, and squeeze and excitation to images, in training.

    Arguments, in this order:

    inputs:       images (count, size).
    gamma, beta:  weights (channels,) of the batch normalisation.
    center:       (channels,), the numbers that `moments` subtracted from the inputs.
    epsilon:      address of one float64.
    outputs:      (count, size), written.
    statistics:   (3, channels), written: mean, variance, 1 / sqrt(variance + epsilon).
    work:         memory for float32 numbers (threads, AREAS, row).
    sums:         sums that `moments` computed, float64 (parts, 2, row).
    parts:        how many threads computed these sums.
    matrix, bias: weights (channels, hidden) and (hidden,) of the first convolution.
    matrix, bias: weights (hidden, channels) and (channels,) of the second convolution.
    inner:        memory for float64 numbers (threads, row).
    means:        each image's channel means after silu (count, channels), written.
    products:     outputs of the first convolution (count, hidden), written.
    gates:        each image's factors for its channels (count, channels), written.
    count, size, row, channels, hidden: how many there are: images, numbers in an image, numbers in a row, channels, and
        outputs of the first convolution. A row is several pixels with all their channels.
    """
    inputs, gamma, beta, center, epsilon, outputs, statistics, work, sums, parts = arguments[0][:10]
    inner, means, products, gates, count, size, row, channels, hidden = arguments[0][14:]
    start, stop = range_of_thread(count, 1)
    a, b, some, by = area(work, 0, row), area(work, 1, row), area(work, 2, row), area(work, 3, row)
    squeezed, all_of = area(work, 4, row)[:hidden], doubles(inner, thread() * row, row)
    pixels = count * size // channels
    scale_and_shift((gamma, beta, center, epsilon, statistics, sums), parts, pixels, channels, a, b)
    for image in range(start, stop):
        at, end = image * size, (image + 1) * size
        clear(some, all_of)
        while at < end:
            pause = min(at + FLUSH * row, end)
            while at < pause:
                length = min(row, pause - at)
                x, y = floats(inputs, at, length), floats(outputs, at, length)
                for j in range(length):
                    z = x[j] * a[j] + b[j]
                    y[j] = z / (ONE + inverse_exponential(z))
                for j in range(length):
                    some[j] += y[j]
                at += length
            flush(some, all_of)
        mean, gate = floats(means, image * channels, channels), floats(gates, image * channels, channels)
        sum_channels(all_of, channels, channels / size, mean)
        gate_of(mean, arguments[0][10:14], floats(products, image * hidden, hidden), squeezed, gate)
        for j in range(channels):
            by[j] = gate[j]
        repeat(by, channels)
        multiply(outputs, image * size, end, by)


@inline
def add_gate_products(gradient, outputs, at, end, some, all_of):
    """Add gradient * outputs of one image, row by row, to the float64 sums `all_of`, which have the length of a row.

    A row is several pixels with all their channels.

    gradient, outputs: addresses of the numbers of all images.
    at, end:           positions of the image's first number and of its end.
    some:              float32 memory of the length of a row, zeros at first and at the end.
    """
    row = len(some)
    while at < end:
        pause = min(at + FLUSH * row, end)
        while at < pause:
            length = min(row, pause - at)
            g, y = floats(gradient, at, length), floats(outputs, at, length)
            for j in range(length):
                some[j] += g[j] * y[j]
            at += length
        flush(some, all_of)


@inline
def image_gradients(arrays, at, end, normalisation, gate, work, totals):
    """Compute y, the gradient of the first silu's input (the output of batch normalisation), for one image.

    y = (g * by + plus) * silu'(x * a + b). Also add y and y * (x - c) to the sums in `totals`.

    arrays:        addresses of all images' g (gradient of the outputs), x (inputs) and y (written).
    at, end:       positions of the image's first number and of its end.
    normalisation: arrays a, b and c of one row. Batch normalisation is x * a + b, and c is the mean.
    gate:          arrays `by` (factors) and `plus` (gradient that arrives through the channel means) of one row.
    work:          three float32 arrays of one row. The last two are zeros at first and at the end.
    totals:        two float64 arrays of one row.
    """
    (gradient, inputs, to_silu), (a, b, c), (by, plus) = arrays, normalisation, gate
    (part, some, more), (to_first, to_second) = work, totals
    row = len(by)
    while at < end:
        pause = min(at + FLUSH * row, end)
        while at < pause:
            length = min(row, pause - at)
            g, x, y = floats(gradient, at, length), floats(inputs, at, length), floats(to_silu, at, length)
            for j in range(length):
                part[j] = g[j] * by[j] + plus[j]
            for j in range(length):
                z = x[j] * a[j] + b[j]
                s = ONE / (ONE + inverse_exponential(z))
                y[j] = part[j] * (s * (ONE + z * (ONE - s)))
            for j in range(length):  # a separate loop: with more arrays in one loop the compiler does not vectorise
                some[j] += y[j]
                more[j] += y[j] * (x[j] - c[j])
            at += length
        flush(some, to_first)
        flush(more, to_second)


@loop(21)
def backward(arguments):
    """Compute the gradients of `forward`, back to the output of the batch normalisation.

    Arguments, in this order:

    gradient:        gradient of the outputs (count, size).
    inputs, outputs: those of `forward` (count, size).
    gamma, beta, statistics: those of `forward`.
    to_silu:         gradient of the batch normalisation's output (count, size), written.
    work:            memory for float32 numbers (threads, AREAS, row).
    sums:            float64 (threads, 2, row). Sums of `to_silu`, and of `to_silu` * (x - mean), are added here.
    first, second:   the convolutions' weights, transposed: (hidden, channels) and (channels, hidden).
    inner:           memory for float64 numbers (threads, row).
    gates, products: those of `forward`.
    to_products:     gradient of the first convolution's output (count, hidden), written.
    to_gates:        gradient of the second convolution's output (count, channels), written.
    count, size, row, channels, hidden: how many there are: images, numbers in an image, numbers in a row, channels, and
        outputs of the first convolution. A row is several pixels with all their channels.
    """
    gradient, inputs, outputs, gamma, beta, statistics, to_silu, work, sums = arguments[0][:9]
    first, second, inner, gates, products, to_products, to_gates = arguments[0][9:16]
    count, size, row, channels, hidden = arguments[0][16:]
    start, stop = range_of_thread(count, 1)
    a, b, c = area(work, 0, row), area(work, 1, row), area(work, 2, row)
    some, more, part = area(work, 3, row), area(work, 4, row), area(work, 7, row)
    by, plus, all_of = area(work, 5, row), area(work, 6, row), doubles(inner, thread() * row, row)
    totals = doubles(sums, 2 * thread() * row, row), doubles(sums, (2 * thread() + 1) * row, row)
    read_scale_and_shift(gamma, beta, statistics, channels, a, b, c)
    for j in range(row):
        more[j] = ZERO
    for image in range(start, stop):
        at, end = image * size, (image + 1) * size
        clear(some, all_of)
        add_gate_products(gradient, outputs, at, end, some, all_of)
        gate, to_gate = floats(gates, image * channels, channels), floats(to_gates, image * channels, channels)
        before, to_before = floats(products, image * hidden, hidden), floats(to_products, image * hidden, hidden)
        sum_channels(all_of, channels, 1.0, to_gate)
        gate_gradients((first, second, part), gate, before, to_gate, to_before, by, plus)
        for j in range(channels):
            plus[j] *= np.float32(channels / size)
        repeat(by, channels)
        repeat(plus, channels)
        image_gradients((gradient, inputs, to_silu), at, end, (a, b, c), (by, plus), (part, some, more), totals)
