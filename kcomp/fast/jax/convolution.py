"""Depthwise and 1 x 1 convolutions, batch normalisation and silu for JAX on a CPU.

Images are (N, H, W, C), kernels (height, width, in, out), as in Keras. Gradients are reverse-mode only.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BLOCK_ROWS = 8  # rows in a block, for the gradient of a depthwise kernel; with the sums, they fit into a core's cache


def dense(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any) -> Any:
    """Return a 1 x 1 convolution, computed as a matrix product. Return None for a larger kernel."""
    if kernel.shape[:2] != (1, 1):
        return None  # XLA's own convolution is as fast
    outputs = _dense_function()(images[:, :: strides[0], :: strides[1]], kernel[0, 0])
    return outputs if bias is None else outputs + bias


@functools.cache
def _dense_function() -> Any:
    """Return a function that multiplies images (N, H, W, C) by a matrix (C, F), with its gradients."""

    @jax.jit
    def backward(saved, gradient):
        images, matrix = saved
        rows, others = images.reshape(-1, images.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        # JAX's own gradient makes XLA copy the larger factor to another layout before it multiplies.
        return gradient @ matrix.T, rows.T @ others

    function = jax.custom_vjp(jnp.matmul)
    function.defvjp(lambda images, matrix: (images @ matrix, (images, matrix)), backward)
    return function


def depthwise(images: Any, kernel: Any, bias: Any, strides: Any, padding: Any) -> Any:
    """Return the depthwise convolution of images with a kernel (height, width, C), summed in at least 32 bits."""
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    padded = jnp.pad(images.astype(dtype), ((0, 0), *padding, (0, 0)))
    outputs = _depthwise_function()(padded, kernel.astype(dtype), tuple(strides)).astype(images.dtype)
    return outputs if bias is None else outputs + bias


@functools.cache
def _depthwise_function() -> Any:
    """Return a function of (images, kernel, strides): depthwise convolution without padding, with its gradients."""

    @functools.partial(jax.jit, static_argnums=0)
    def backward(strides, saved, gradient):
        images, kernel = saved
        to_images = _images_gradient(gradient, kernel, strides, images.shape[1:3])
        return to_images, _kernel_gradient(gradient, images, strides, kernel.shape)

    function = jax.custom_vjp(_shifted_sum, nondiff_argnums=(2,))
    function.defvjp(lambda *arguments: (_shifted_sum(*arguments), arguments[:2]), backward)
    return function


@functools.partial(jax.jit, static_argnums=2)
def _shifted_sum(images: Any, kernel: Any, strides: Any) -> Any:
    """Return the depthwise convolution of images (N, H, W, C) with a kernel (height, width, C), without padding.

    outputs[n, y, x, c] = sum over i, j of kernel[i, j, c] * images[n, y * strides[0] + i, x * strides[1] + j, c]
    """
    # On a CPU, XLA compiles this sum to one vectorised loop, 6 to 60 times faster than its own depthwise convolution.
    sides = zip(images.shape[1:3], kernel.shape[:2], strides, strict=True)
    shape = [(size - window) // stride + 1 for size, window, stride in sides]
    weights = kernel.reshape(-1, kernel.shape[2])
    products = []
    for number, tap in enumerate(np.ndindex(*kernel.shape[:2])):
        window = _window(images, tap, shape, strides)
        weight = jax.lax.slice_in_dim(weights, number, number + 1).reshape(-1)
        products.append(jax.lax.mul(window, jax.lax.broadcast_in_dim(weight, window.shape, (3,))))
    return functools.reduce(jax.lax.add, products)


def _window(images: Any, start: Any, shape: Any, strides: Any) -> Any:
    """Return images[:, start[0] :: strides[0], start[1] :: strides[1]], cut to the height and width in `shape`."""
    # jax.numpy's indexing and operators give the same program, but take twice as long to trace
    batch, _, _, channels = images.shape
    ends = [a + (n - 1) * step + 1 for a, n, step in zip(start, shape, strides, strict=True)]
    return jax.lax.slice(images, (0, *start, 0), (batch, *ends, channels), (1, *strides, 1))


def _images_gradient(gradient: Any, kernel: Any, strides: Any, shape: Any) -> Any:
    """Return the gradient of a depthwise convolution with respect to images of height and width `shape`.

    result[n, a, b] = sum of gradient[n, y, x] * kernel[i, j] over all y, i with y * strides[0] + i = a and all x, j
    with x * strides[1] + j = b

    gradient: gradient of the convolution's outputs (N, H, W, C).
    """
    # the result rows row, row + stride, ... need only the kernel rows row, row + stride, ..., and columns likewise
    batch, height, width, channels = gradient.shape
    rows, columns = (math.ceil(size / stride) for size, stride in zip(shape, strides, strict=True))

    def phase(row, column):  # the gradient of the pixels at rows row, row + stride, ... and columns likewise
        weights = kernel[row :: strides[0], column :: strides[1]][::-1, ::-1]
        if 0 in weights.shape:  # the stride is larger than the kernel, and no window contains these pixels
            return jnp.zeros((batch, rows, columns, channels), gradient.dtype)
        around = ((0, 0), (weights.shape[0] - 1, rows - height), (weights.shape[1] - 1, columns - width), (0, 0))
        return _shifted_sum(jnp.pad(gradient, around), weights, (1, 1))

    phases = [jnp.stack([phase(row, column) for column in range(strides[1])], 3) for row in range(strides[0])]
    pixels = jnp.stack(phases, axis=2).reshape(batch, rows * strides[0], columns * strides[1], channels)
    return pixels[:, : shape[0], : shape[1]]


def _kernel_gradient(gradient: Any, images: Any, strides: Any, kernel_shape: Any) -> Any:
    """Return the gradient of a depthwise convolution with respect to the kernel (height, width, C).

    result[i, j] = sum over n, y, x of gradient[n, y, x] * images[n, y * strides[0] + i, x * strides[1] + j]

    """
    # The sum over n, y and x in one expression takes 5 to 16 times longer: XLA does not vectorise it.
    batch, height, width, channels = gradient.shape
    blocks = math.ceil(height / BLOCK_ROWS)
    rows = math.ceil(height / blocks)
    high = (rows - 1) * strides[0] + kernel_shape[0]
    gradient = _lengthen(gradient, blocks * rows)
    images = _lengthen(images, (blocks - 1) * rows * strides[0] + high)

    def fetch(index):
        image, row = jax.lax.div(index, blocks), jax.lax.rem(index, blocks) * rows
        ours = jax.lax.dynamic_slice(gradient, (image, row, 0, 0), (1, rows, width, channels))
        start, shape = (image, row * strides[0], 0, 0), (1, high, *images.shape[2:])
        return ours[0], jax.lax.dynamic_slice(images, start, shape)[0]

    def add_block(index, carried):
        sums, ours, seen = carried
        for row in range(rows):  # all kernel rows at once: they meet successive rows of the image
            top, gradients = row * strides[0], ours[row]
            for column, total in enumerate(sums):
                end = (top + kernel_shape[0], column + (width - 1) * strides[1] + 1, channels)
                window = jax.lax.slice(seen, (top, column, 0), end, (1, strides[1], 1))
                spread = jax.lax.broadcast_in_dim(gradients, window.shape, (1, 2))
                sums[column] = jax.lax.add(total, jax.lax.mul(window, spread))
        return sums, *fetch(index + 1)  # XLA would compute an address for each number if the loop above read the rows

    zeros = [jnp.zeros((kernel_shape[0], width, channels), gradient.dtype) for _ in range(kernel_shape[1])]
    sums, *_ = jax.lax.fori_loop(0, batch * blocks, add_block, (zeros, *fetch(0)))
    return jnp.stack([total.sum(1) for total in sums], axis=1)


def _lengthen(images: Any, height: int) -> Any:
    missing = max(height - images.shape[1], 0)
    return jnp.pad(images, ((0, 0), (0, missing), (0, 0), (0, 0))) if missing else images


def move(variable: Any, average: Any, batch_value: Any, momentum: float) -> None:
    """Update a moving average: average * momentum + batch_value * (1 - momentum).

    variable:    the Keras variable to update.
    average:     the variable's current value.
    batch_value: the mean or variance of the batch.
    """
    variable.assign(average * momentum + batch_value * (1.0 - momentum))


def normalise(
    inputs: Any, gamma: Any, beta: Any, moving_mean: Any, moving_variance: Any, epsilon: float, learns: bool
) -> Any:
    """Apply batch normalisation with the mean and variance of the batch. Return three things: outputs, mean and
    variance.

    Return None if `learns` is False. The moving mean and variance must then be used.
    """
    if not learns:
        return None
    ones, zeros = jnp.ones_like(moving_mean), jnp.zeros_like(moving_mean)
    return _normalise_function()(inputs, ones if gamma is None else gamma, zeros if beta is None else beta, epsilon)


@functools.cache
def _normalise_function() -> Any:
    """Return a function of (inputs, gamma, beta, epsilon): batch normalisation in training, with its gradients."""

    @functools.partial(jax.jit, static_argnums=3)
    def forward(inputs, gamma, beta, epsilon):
        axes = tuple(range(inputs.ndim - 1))
        mean = inputs.mean(axes)
        variance = (inputs * inputs).mean(axes) - mean * mean  # the formula of keras.ops.moments
        inverse = jax.lax.rsqrt(variance + epsilon)
        scale = inverse * gamma
        outputs = inputs * scale + (beta - mean * scale)
        return (outputs, mean, variance), (inputs, mean, inverse, gamma)

    @functools.partial(jax.jit, static_argnums=0)
    def backward(epsilon, saved, gradients):
        inputs, mean, inverse, gamma = saved
        gradient = gradients[0]  # the statistics only update the moving averages and have no gradient
        axes, count = tuple(range(inputs.ndim - 1)), inputs.size // inputs.shape[-1]
        centred = inputs - mean
        to_beta, to_gamma = gradient.sum(axes), (gradient * centred).sum(axes) * inverse
        to_inputs = gamma * inverse * (gradient - to_beta / count - centred * (inverse * to_gamma / count))
        return to_inputs, to_gamma, to_beta

    function = jax.custom_vjp(lambda *arguments: forward(*arguments)[0], nondiff_argnums=(3,))
    function.defvjp(forward, backward)
    return function


def silu(inputs: Any) -> Any:
    """Return inputs * sigmoid(inputs), computed in at least 32 bits."""
    dtype = jnp.promote_types(inputs.dtype, jnp.float32)
    return _silu_function()(inputs.astype(dtype)).astype(inputs.dtype)


@functools.cache
def _silu_function() -> Any:
    """Return silu with a gradient that saves only the inputs of the forward pass."""

    @jax.jit
    def backward(inputs, gradient):
        # not the expression of `forward`: XLA would merge equal expressions and save the result
        small = jnp.exp(-jnp.abs(inputs))
        sigmoid = jnp.where(inputs >= 0, 1, small) / (1 + small)
        return (gradient * sigmoid * (1 + inputs * (1 - sigmoid)),)

    @jax.jit
    def forward(inputs):
        return inputs / (1 + jnp.exp(-inputs))

    function = jax.custom_vjp(forward)
    function.defvjp(lambda inputs: (forward(inputs), inputs), backward)
    return function
