"""Silu in place, and batch normalisation with silu after it, as compiled loops for PyTorch on a CPU."""

import functools
from typing import Any

import torch
from torch.nn import functional

from kcomp.fast.torch.loop_arguments import covered, differentiable_gradients, loops

PIXELS = 16  # the mean of so many pixels is near enough to the overall mean to compute an accurate variance
LONG_ROW = 512  # numbers processed together; with their work memory, they fit into a core's first-level cache


def silu_in_place(values: Any) -> Any:
    """Apply silu in place and return the tensor. Gradients are not available."""
    if not covered(values):
        return functional.silu(values, inplace=True)
    loops().run(loops().silu_in_place, values, values.numel())
    return values


def normalised_silu(
    inputs: Any, gamma: Any, beta: Any, moving_mean: Any, moving_variance: Any, epsilon: float, learns: bool
) -> tuple[Any, Any, Any] | None:
    """Apply batch normalisation and silu. Return three things: outputs, the batch's mean and the batch's variance.

    Return only None if the compiled loops do not support the inputs, or if `learns` is False, that is, if the moving
    mean and variance must be used.
    """
    if not learns or gamma is None or beta is None or not covered(inputs):
        return None
    return NormalisedSiluGradient.apply(inputs, gamma, beta, epsilon)


class NormalisedSiluGradient(torch.autograd.Function):
    """Batch normalisation (Ioffe and Szegedy 2015) and silu as one operation with its gradients."""

    @staticmethod
    def forward(context: Any, inputs: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
        code, outputs, statistics = loops(), torch.empty_like(inputs), inputs.new_empty(3, inputs.shape[-1])
        count, row, channels, work, sums = rows_of(inputs)
        center = inputs.view(-1, channels)[:PIXELS].mean(0)
        code.run(code.moments, inputs, center, work, sums, count, row, channels)
        number = torch.tensor(epsilon, dtype=torch.float64)
        values = inputs, gamma, beta, center, number, outputs, statistics, work, sums
        code.run(code.normalised_silu, *values, len(sums), count, row, channels)
        context.save_for_backward(inputs, gamma, beta, statistics)
        context.epsilon = epsilon
        mean, variance, _ = statistics
        context.mark_non_differentiable(mean, variance)
        return outputs, mean, variance

    @staticmethod
    def backward(context: Any, gradient: Any, *_: Any) -> Any:
        inputs, gamma, beta, statistics = context.saved_tensors
        needed = context.needs_input_grad[:3]
        if torch.is_grad_enabled():  # the caller needs a gradient of this gradient
            function = functools.partial(_by_torch, epsilon=context.epsilon)
            return *differentiable_gradients(function, (inputs, gamma, beta), needed, gradient), None
        code, result, weights = loops(), torch.empty_like(inputs), torch.empty_like(statistics[:2])
        count, row, channels, work, sums = rows_of(inputs)
        values: Any = (gradient.contiguous(), inputs, gamma, beta, statistics, result, work, sums)
        code.run(code.silu_part, *values, count, row, channels)
        values = result, inputs, gamma, statistics, weights, work, sums
        code.run(code.normalised_part, *values, len(sums), count // channels, count * needed[0], row, channels)
        return result, *weights, None


def _by_torch(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    outputs = functional.batch_norm(inputs.movedim(-1, 1), None, None, gamma, beta, training=True, eps=epsilon)
    return functional.silu(outputs).movedim(1, -1)


def rows_of(inputs: Any) -> tuple[int, int, int, Any, Any]:
    """Return five arguments of the compiled loops for a tensor of shape (..., C).

    Returns:
        The size of the tensor, the size of a row (several pixels with all channels), C, work memory (threads, AREAS,
        row), and zeros for sums (threads, 2, row).
    """
    channels = inputs.shape[-1]
    row, threads = max(1, LONG_ROW // channels) * channels, torch.get_num_threads()
    return (
        inputs.numel(),
        row,
        channels,
        torch.empty(threads, loops().AREAS, row),
        torch.zeros(threads, 2, row, dtype=torch.float64),
    )
