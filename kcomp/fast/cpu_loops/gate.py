"""Sums over pixels, the gate of an image, and its gradient, for kcomp.fast.cpu_loops.excitation.

The gate has one factor from 0 to 1 for each channel of an image.
"""

from kcomp.fast.cpu_loops.machine_code import floats, inline
from kcomp.fast.cpu_loops.silu import ONE, ZERO, inverse_exponential

__all__ = ["clear", "gate_gradients", "gate_of", "multiply", "sum_channels"]


@inline
def product(vector, matrix, bias, result):
    """Write vector @ matrix + bias to the array `result`. `matrix` is an address."""
    size = len(result)
    for j in range(size):
        result[j] = bias[j]
    for i in range(len(vector)):
        factor, row = vector[i], floats(matrix, i * size, size)
        for j in range(size):
            result[j] += factor * row[j]


@inline
def clear(some, all_of):
    for j in range(len(some)):
        some[j] = ZERO
        all_of[j] = 0.0


@inline
def sigmoid(values):
    for j in range(len(values)):
        values[j] = ONE / (ONE + inverse_exponential(values[j]))


@inline
def sum_channels(all_of, channels, scale, result):
    """Write to result[channel] the channel's sum over the pixels in `all_of`, multiplied by `scale`.

    `all_of` has the channels of the first pixel, then those of the second, and so on.
    """
    for j in range(channels):
        total = 0.0
        for k in range(j, len(all_of), channels):
            total += all_of[k]
        result[j] = total * scale


@inline
def gate_of(mean, matrices, between, squeezed, gate):
    """Compute the gate of one image: a factor from 0 to 1 for each channel.

    between = mean @ first + first_bias, squeezed = silu(between), gate = sigmoid(squeezed @ second + second_bias).

    mean:              mean of each channel over the image (channels,).
    matrices:          four addresses: first (channels, hidden), first_bias, second (hidden, channels), second_bias.
    between, squeezed: arrays (hidden,), written.
    gate:              array (channels,), written.
    """
    first, first_bias, second, second_bias = matrices
    product(mean, first, floats(first_bias, 0, len(between)), between)
    for j in range(len(between)):
        squeezed[j] = between[j] / (ONE + inverse_exponential(between[j]))
    product(squeezed, second, floats(second_bias, 0, len(gate)), gate)
    sigmoid(gate)


@inline
def multiply(values, start, end, by):
    """Multiply each channel of one image by a factor.

    values:     address of the numbers of all images.
    start, end: positions of the image's first number and of its end.
    by:         one factor for each channel, repeated for each pixel of a row.
    """
    row, at = len(by), start
    while at < end:
        size = min(row, end - at)
        y = floats(values, at, size)
        for j in range(size):
            y[j] *= by[j]
        at += size


@inline
def multiply_by_silu_derivative(values, inputs):
    """Multiply each number of `values` by the derivative of silu at the same place of `inputs`."""
    for j in range(len(values)):
        s = ONE / (ONE + inverse_exponential(inputs[j]))
        values[j] *= s * (ONE + inputs[j] * (ONE - s))


@inline
def gate_gradients(matrices, gate, products, to_gate, to_products, by, plus):
    """Compute the gradient of one image's channel means, from the gradient of its gate.

    matrices:    addresses of the two convolutions' weights, transposed, and an array that becomes a bias of zeros.
    gate:        the image's factor for each channel (channels,).
    products:    the first convolution's output (hidden,), which is the input of a silu.
    to_gate:     each channel's sum of gradient * outputs over the pixels. Replaced by the gradient of the sigmoid's
                 input.
    to_products: gradient of `products`, written.
    by:          a copy of `gate`, written to its first numbers.
    plus:        gradient of the channel means, written to its first numbers.
    """
    first, second, zeros = matrices
    channels = len(gate)
    for j in range(channels):
        to_gate[j] *= ONE - gate[j]  # the sigmoid's derivative is gate * (1 - gate); outputs contain the factor gate
        by[j] = gate[j]
        zeros[j] = ZERO
    product(to_gate, second, zeros, to_products)
    multiply_by_silu_derivative(to_products, products)
    product(to_products, first, zeros, plus[:channels])
