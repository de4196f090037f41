"""Silu, then squeeze and excitation, for prediction. For training, batch normalisation comes first.

A thread computes whole images, which stay in its core's cache from one pass to the next. Arguments with the names of
cpu_loops.silu have the same meaning here. Others are:

count:  number of images.
size:   number of values in an image.
inner:  memory for sums, float64 (threads, row).
matrix: weights of a convolution. The first is (channels, hidden), the second (hidden, channels). `backward` takes both
        transposed.
"""

import numpy as np

from kcomp.fast.cpu_loops.machine_code import doubles, floats, inline, loop, run, share, thread
from kcomp.fast.cpu_loops.silu import (
    FLUSH,
    ONE,
    ZERO,
    area,
    flush,
    inverse_exponential,
    recalled,
    repeat,
    scale_and_shift,
)

__all__ = ["backward", "forward", "run", "silu_excited"]


@inline
def product(vector, matrix, bias, result):
    """Compute result = vector @ matrix + bias."""
    size = len(result)
    for j in range(size):
        result[j] = bias[j]
    for i in range(len(vector)):
        factor, row = vector[i], floats(matrix, i * size, size)
        for j in range(size):
            result[j] += factor * row[j]


@inline
def clear(some, all_of):
    """Set the float32 sums `some` and the float64 sums `all_of` to zero."""
    for j in range(len(some)):
        some[j] = ZERO
        all_of[j] = 0.0


@inline
def sigmoid(values):
    """Apply the sigmoid in place."""
    for j in range(len(values)):
        values[j] = ONE / (ONE + inverse_exponential(values[j]))


@inline
def pixels_of_row(all_of, channels, scale, result):
    """Sum each channel over the pixels of a row, multiply the sums by `scale`, and write them to `result`."""
    for j in range(channels):
        total = 0.0
        for k in range(j, len(all_of), channels):
            total += all_of[k]
        result[j] = total * scale


@inline
def gate_of(mean, matrices, between, squeezed, gate):
    """Compute the gate (channels,) of an image from the means of its channels.

    Write the input of the second silu to `between`, and its output to `squeezed`.
    """
    first, first_bias, second, second_bias = matrices
    product(mean, first, floats(first_bias, 0, len(between)), between)
    for j in range(len(between)):
        squeezed[j] = between[j] / (ONE + inverse_exponential(between[j]))
    product(squeezed, second, floats(second_bias, 0, len(gate)), gate)
    sigmoid(gate)


@inline
def multiply(values, start, end, by):
    """Multiply each row of an image by the numbers in `by`."""
    row, at = len(by), start
    while at < end:
        size = min(row, end - at)
        y = floats(values, at, size)
        for j in range(size):
            y[j] *= by[j]
        at += size


@loop(12)
def silu_excited(arguments):
    """Apply silu, and squeeze and excitation, in place.

    Arguments: values (count, size), matrix, bias, matrix, bias, work, inner, count, size, row, channels, hidden.
    """
    values, work, inner = arguments[0][0], arguments[0][5], arguments[0][6]
    count, size, row, channels, hidden = arguments[0][7:]
    start, stop = share(count, 1)
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
        pixels_of_row(all_of, channels, channels / size, mean)
        gate_of(mean, arguments[0][1:5], between, squeezed, by[:channels])
        repeat(by, channels)
        multiply(values, image * size, end, by)


@loop(23)
def forward(arguments):
    """Apply batch normalisation, silu, and squeeze and excitation.

    Arguments: inputs (count, size), gamma, beta, center of `moments`, epsilon (a float64), outputs, statistics, work,
    sums of `moments`, number of threads in these sums, matrix, bias, matrix, bias, inner, means (count, channels),
    inputs of the second silu (count, hidden), gates (count, channels), count, size, row, channels, hidden.

    The loop writes outputs, statistics, means, inputs of the second silu, and gates.
    """
    inputs, gamma, beta, center, epsilon, outputs, statistics, work, sums, parts = arguments[0][:10]
    inner, means, products, gates, count, size, row, channels, hidden = arguments[0][14:]
    start, stop = share(count, 1)
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
        pixels_of_row(all_of, channels, channels / size, mean)
        gate_of(mean, arguments[0][10:14], floats(products, image * hidden, hidden), squeezed, gate)
        for j in range(channels):
            by[j] = gate[j]
        repeat(by, channels)
        multiply(outputs, image * size, end, by)


@inline
def add_gate_products(gradient, outputs, at, end, some, all_of):
    """Add up an image's gradient times its outputs in float64, for each place in a row."""
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
def times_silu_gradient(values, inputs):
    """Multiply values by the derivative of silu at its inputs."""
    for j in range(len(values)):
        s = ONE / (ONE + inverse_exponential(inputs[j]))
        values[j] *= s * (ONE + inputs[j] * (ONE - s))


@inline
def gate_gradients(matrices, gate, products, to_gate, to_products, by, plus):
    """Compute the gradients of an image's gate, and of the means that the gate is computed from.

    to_gate:     each channel's sum of gradient times outputs. It is replaced by the gradient of the sigmoid's input.
    to_products: written: the gradient of the input of the second silu.
    by:          written: a copy of the gate.
    plus:        written: the gradient of the means.
    """
    first, second, zeros = matrices
    channels = len(gate)
    for j in range(channels):
        to_gate[j] *= ONE - gate[j]  # sigmoid's gradient is gate * (1 - gate); the outputs contain the factor gate
        by[j] = gate[j]
        zeros[j] = ZERO
    product(to_gate, second, zeros, to_products)
    times_silu_gradient(to_products, products)
    product(to_products, first, zeros, plus[:channels])


@inline
def image_gradients(arrays, at, end, normalisation, gate, work, totals):
    """Compute the gradient of the first silu's input for one image, and add it to the sums as `silu_part` does."""
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
    """Compute the gradients of `forward`, up to the input of the first silu.

    Arguments: gradient, inputs and outputs of `forward` (count, size), gamma, beta, statistics, gradient of the first
    silu's input (count, size), work, sums of that gradient and of its product with x - mean, the two matrices
    (transposed), inner, gates and inputs of the second silu from `forward`, gradient of the second silu's input (count,
    hidden), gradient of the sigmoid's input (count, channels), count, size, row, channels, hidden.

    The loop writes the three gradients and the sums.
    """
    gradient, inputs, outputs, gamma, beta, statistics, to_silu, work, sums = arguments[0][:9]
    first, second, inner, gates, products, to_products, to_gates = arguments[0][9:16]
    count, size, row, channels, hidden = arguments[0][16:]
    start, stop = share(count, 1)
    a, b, c = area(work, 0, row), area(work, 1, row), area(work, 2, row)
    some, more, part = area(work, 3, row), area(work, 4, row), area(work, 7, row)
    by, plus, all_of = area(work, 5, row), area(work, 6, row), doubles(inner, thread() * row, row)
    totals = doubles(sums, 2 * thread() * row, row), doubles(sums, (2 * thread() + 1) * row, row)
    recalled(gamma, beta, statistics, channels, a, b, c)
    for j in range(row):
        more[j] = ZERO
    for image in range(start, stop):
        at, end = image * size, (image + 1) * size
        clear(some, all_of)
        add_gate_products(gradient, outputs, at, end, some, all_of)
        gate, to_gate = floats(gates, image * channels, channels), floats(to_gates, image * channels, channels)
        before, to_before = floats(products, image * hidden, hidden), floats(to_products, image * hidden, hidden)
        pixels_of_row(all_of, channels, 1.0, to_gate)
        gate_gradients((first, second, part), gate, before, to_gate, to_before, by, plus)
        for j in range(channels):
            plus[j] *= np.float32(channels / size)
        repeat(by, channels)
        repeat(plus, channels)
        image_gradients((gradient, inputs, to_silu), at, end, (a, b, c), (by, plus), (part, some, more), totals)
