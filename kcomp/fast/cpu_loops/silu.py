"""Compiled loops for silu in place, and for batch normalisation with silu after it, with gradients, on a CPU."""

import math

import numpy as np

from kcomp.fast.cpu_loops.machine_code import doubles, floats, inline, loop, range_of_thread, run, thread

__all__ = [
    "AREAS",
    "moments",
    "normalised_part",
    "normalised_silu",
    "run",
    "silu_in_place",
    "silu_part",
]

AREAS = 8  # arrays of one row in the work memory of a thread
FLUSH = 64  # how many rows are summed in float32 before the sum is added to a float64 sum
ONE, ZERO = np.float32(1), np.float32(0)

# exp(-x) = 2^k e^r with an integer k and |r| <= log(2) / 2. For such r, a polynomial of degree 5 through Chebyshev's
# nodes computes e^r with a relative error of 1e-7. k is -x / log(2) rounded to an integer: adding ROUND = 1.5 * 2^23 to
# a float32 rounds it, and leaves the integer in its lowest bits.
_REST = np.polynomial.Chebyshev.interpolate(np.exp, 5, domain=[-math.log(2) / 2, math.log(2) / 2])
C0, C1, C2, C3, C4, C5 = map(np.float32, _REST.convert(kind=np.polynomial.Polynomial).coef * [1, -1, 1, -1, 1, -1])
LOG_2, MINUS_LOG2_E = np.float32(math.log(2)), np.float32(-1 / math.log(2))
ROUND, LARGEST = np.float32(1.5 * 2**23), np.float32(87.0)
BIAS, MANTISSA = np.int32(127), np.int32(23)


@inline
def inverse_exponential(x):
    """Return exp(-x) with a relative error of about 1e-7."""
    x = min(max(x, -LARGEST), LARGEST)
    rounded = x * MINUS_LOG2_E + ROUND
    minus_r = x + (rounded - ROUND) * LOG_2
    power = ((((C5 * minus_r + C4) * minus_r + C3) * minus_r + C2) * minus_r + C1) * minus_r + C0
    bits = np.int32(np.int32(np.float32(rounded).view(np.int32) + BIAS) << MANTISSA)
    return power * np.int32(bits).view(np.float32)


@loop(2)
def silu_in_place(arguments):
    """Replace the numbers of a tensor by x * sigmoid(x).

    Arguments: the tensor, and how many numbers it has.
    """
    values, count = arguments[0]
    start, stop = range_of_thread(count, 16)
    x = floats(values, start, stop - start)
    for i in range(stop - start):
        x[i] = x[i] / (ONE + inverse_exponential(x[i]))


# The loops below process `row` numbers at a time: several pixels with all their channels. Registers are then full even
# if an image has few channels. The last row may be shorter. At the start, each thread repeats the numbers of a channel,
# such as gamma and beta, for each pixel of a row. Variances are biased: divided by the number of pixels.


@inline
def area(work, number, row):
    """Return array `number` of this thread in `work`. It has `row` float32 numbers."""
    return floats(work, (AREAS * thread() + number) * row, row)


@inline
def repeat(values, channels):
    """Fill the array `values` by repeating its first `channels` numbers."""
    for j in range(channels, len(values)):
        values[j] = values[j - channels]


@inline
def total(sums, number, channel, parts, row, channels):
    """Return the sum of one channel over all threads and all pixels of a row.

    sums:   address of float64 numbers (parts, 2, row).
    number: 0 or 1, which of the two sums of a thread.
    parts:  how many threads computed sums.
    row:    how many numbers a row has: several pixels with all their channels.
    """
    result = 0.0
    for part in range(parts):
        values = doubles(sums, (2 * part + number) * row, row)
        for j in range(channel, row, channels):
            result += values[j]
    return result


@inline
def flush(some, totals):
    """Add the float32 sums `some` to the float64 sums `totals`, and set `some` to zero."""
    for j in range(len(some)):
        totals[j] += some[j]
        some[j] = ZERO


@inline
def scale_and_shift(arrays, parts, pixels, channels, a, b):
    """Write `a` and `b`, computed from the sums of `moments`. Batch normalisation is then x * a + b.

    Also write the statistics: mean, variance and 1 / sqrt(variance + epsilon) of each channel.

    arrays: addresses of gamma, beta, center, epsilon, statistics and sums, as in `normalised_silu`.
    parts:  how many threads computed the sums.
    pixels: how many pixels the whole batch has.
    a, b:   arrays of one row: one number for each channel, repeated for each pixel.
    """
    gamma, beta, center, epsilon, statistics, sums = arrays
    row = len(a)
    by, plus, middle = floats(gamma, 0, channels), floats(beta, 0, channels), floats(center, 0, channels)
    for j in range(channels):
        offset = total(sums, 0, j, parts, row, channels) / pixels
        variance = max(total(sums, 1, j, parts, row, channels) / pixels - offset * offset, 0.0)
        mean, inverse = middle[j] + offset, 1.0 / math.sqrt(variance + doubles(epsilon, 0, 1)[0])
        a[j] = by[j] * inverse
        b[j] = plus[j] - mean * by[j] * inverse
        if thread() == 0:
            written = floats(statistics, 0, 3 * channels)
            written[j] = mean
            written[channels + j] = variance
            written[2 * channels + j] = inverse
    repeat(a, channels)
    repeat(b, channels)


@inline
def read_scale_and_shift(gamma, beta, statistics, channels, a, b, c):
    """Write `a`, `b` and `c`, computed from the statistics. Batch normalisation is then x * a + b, and c is the mean.

    gamma, beta, statistics: addresses, as in `normalised_silu`.
    a, b, c: arrays of one row: one number for each channel, repeated for each pixel.
    """
    by, plus, saved = floats(gamma, 0, channels), floats(beta, 0, channels), floats(statistics, 0, 3 * channels)
    for j in range(channels):
        a[j] = by[j] * saved[2 * channels + j]
        b[j] = plus[j] - saved[j] * a[j]
        c[j] = saved[j]
    repeat(a, channels)
    repeat(b, channels)
    repeat(c, channels)


@loop(7)
def moments(arguments):
    """Sum x - center and (x - center)^2 over a batch, for each channel.

    Arguments, in this order:

    inputs: the batch, `count` numbers.
    center: numbers (channels,) near the mean of each channel.
    work:   memory for float32 numbers (threads, AREAS, row).
    sums:   float64 (threads, 2, row), zeros at first, written: the two sums of each thread.
    count, row, channels: how many numbers the batch, a row and a pixel have. A row is several pixels.
    """
    inputs, center, work, sums, count, row, channels = arguments[0]
    at, end = range_of_thread(count, row)
    first, second, c = area(work, 0, row), area(work, 1, row), area(work, 2, row)
    to_first, to_second = doubles(sums, 2 * thread() * row, row), doubles(sums, (2 * thread() + 1) * row, row)
    middle = floats(center, 0, channels)
    for j in range(channels):
        c[j] = middle[j]
    repeat(c, channels)
    for j in range(row):
        first[j] = ZERO
        second[j] = ZERO
    while at < end:
        stop = min(at + FLUSH * row, end)
        while at < stop:
            size = min(row, stop - at)
            x = floats(inputs, at, size)
            for j in range(size):
                d = x[j] - c[j]
                first[j] += d
                second[j] += d * d
            at += size
        flush(first, to_first)
        flush(second, to_second)


@loop(13)
def normalised_silu(arguments):
    """Apply batch normalisation, then silu, to a batch.

    Arguments, in this order:

    inputs:      the batch, `count` numbers.
    gamma, beta: weights (channels,) of the batch normalisation.
    center:      (channels,), the numbers that `moments` subtracted from the inputs.
    epsilon:     address of one float64.
    outputs:     `count` numbers, written.
    statistics:  (3, channels), written: mean, variance, 1 / sqrt(variance + epsilon).
    work:        memory for float32 numbers (threads, AREAS, row).
    sums:        sums that `moments` computed, float64 (parts, 2, row).
    parts:       how many threads computed these sums.
    count, row, channels: how many numbers the batch, a row and a pixel have. A row is several pixels.
    """
    inputs, gamma, beta, center, epsilon, outputs, statistics, work, sums, parts, count, row, channels = arguments[0]
    at, end = range_of_thread(count, row)
    a, b = area(work, 0, row), area(work, 1, row)
    pixels = count // channels
    scale_and_shift((gamma, beta, center, epsilon, statistics, sums), parts, pixels, channels, a, b)
    while at < end:
        size = min(row, end - at)
        x, y = floats(inputs, at, size), floats(outputs, at, size)
        for j in range(size):
            z = x[j] * a[j] + b[j]
            y[j] = z / (ONE + inverse_exponential(z))
        at += size


@loop(11)
def silu_part(arguments):
    """Compute the first half of the gradient of `normalised_silu`: the gradient of silu's input.

    Arguments, in this order:

    gradient: gradient of the outputs, `count` numbers.
    inputs, gamma, beta, statistics: those of `normalised_silu`.
    outputs:  gradient of silu's input, `count` numbers, written.
    work:     memory for float32 numbers (threads, AREAS, row).
    sums:     float64 (threads, 2, row), zeros at first, written: sums of `outputs` and of `outputs` * (x - mean).
    count, row, channels: how many numbers the batch, a row and a pixel have. A row is several pixels.
    """
    gradient, inputs, gamma, beta, statistics, outputs, work, sums, count, row, channels = arguments[0]
    at, end = range_of_thread(count, row)
    first, second = area(work, 0, row), area(work, 1, row)
    a, b, c = area(work, 2, row), area(work, 3, row), area(work, 4, row)
    to_first, to_second = doubles(sums, 2 * thread() * row, row), doubles(sums, (2 * thread() + 1) * row, row)
    read_scale_and_shift(gamma, beta, statistics, channels, a, b, c)
    for j in range(row):
        first[j] = ZERO
        second[j] = ZERO
    while at < end:
        stop = min(at + FLUSH * row, end)
        while at < stop:
            size = min(row, stop - at)
            g, x, y = floats(gradient, at, size), floats(inputs, at, size), floats(outputs, at, size)
            for j in range(size):
                z = x[j] * a[j] + b[j]
                s = ONE / (ONE + inverse_exponential(z))
                y[j] = g[j] * (s * (ONE + z * (ONE - s)))
            for j in range(size):  # a separate loop: with more arrays in one loop the compiler does not vectorise
                first[j] += y[j]
                second[j] += y[j] * (x[j] - c[j])
            at += size
        flush(first, to_first)
        flush(second, to_second)


@loop(12)
def normalised_part(arguments):
    """Compute the second half of the gradient of `normalised_silu`: the gradient of the batch normalisation.

    Arguments, in this order:

    gradient:      the outputs of `silu_part`, replaced by the gradient of the inputs.
    inputs, gamma, statistics: those of `normalised_silu`.
    weights:       gradients of gamma and beta (2, channels), written.
    work:          memory for float32 numbers (threads, AREAS, row).
    sums:          sums that `silu_part` computed, float64 (parts, 2, row).
    parts:         how many threads computed these sums.
    pixels:        how many pixels the batch has.
    count:         how many numbers the batch has. 0 skips the gradient of the inputs.
    row, channels: how many numbers a row and a pixel have. A row is several pixels.
    """
    gradient, inputs, gamma, statistics, weights, work, sums, parts, pixels, count, row, channels = arguments[0]
    at, end = range_of_thread(count, row)
    a, b, c = area(work, 0, row), area(work, 1, row), area(work, 2, row)
    by, saved, written = (
        floats(gamma, 0, channels),
        floats(statistics, 0, 3 * channels),
        floats(weights, 0, 2 * channels),
    )
    for j in range(channels):
        mean, inverse = saved[j], saved[2 * channels + j]
        to_beta, to_gamma = total(sums, 0, j, parts, row, channels), total(sums, 1, j, parts, row, channels) * inverse
        # The gradient of x is gamma / sigma (g - mean(g) - x_hat mean(g x_hat)) = a g + b x + c, where
        # x_hat = (x - mean) / sigma.
        a[j] = by[j] * inverse
        b[j] = -by[j] * inverse * inverse * to_gamma / pixels
        c[j] = by[j] * inverse * (inverse * mean * to_gamma - to_beta) / pixels
        if thread() == 0:
            written[j] = to_gamma
            written[channels + j] = to_beta
    repeat(a, channels)
    repeat(b, channels)
    repeat(c, channels)
    while at < end:
        size = min(row, end - at)
        g, x = floats(gradient, at, size), floats(inputs, at, size)
        for j in range(size):
            g[j] = g[j] * a[j] + x[j] * b[j] + c[j]
        at += size
