"""Squeeze and excitation (Hu et al. 2018) and the layers before it, as compiled loops for PyTorch on a CPU."""

import functools
from typing import Any

import torch
from torch.nn import functional

from kcomp.fast.torch.loop_arguments import covered, differentiable_gradients, loops
from kcomp.fast.torch.silu import PIXELS, rows_of


def suits(images: Any) -> bool:
    several = images.ndim == 4 and len(images) >= torch.get_num_threads()
    return several and covered(images) and loops("excitation") is not None


def silu_excited(values: Any, *weights: Any) -> bool:
    """Apply silu, then squeeze and excitation, to images (N, H, W, C) in place, and return True.

    Return False and change nothing if the compiled loops do not support the images.

    weights: weights of the two convolutions: matrix (C, hidden), bias (hidden,), matrix (hidden, C), bias (C,).
    """
    if not suits(values):
        return False
    code, (_, row, channels, work, sums) = loops("excitation"), rows_of(values)
    numbers = len(values), values.numel() // len(values), row, channels, weights[0].shape[1]
    code.run(code.silu_excited, values, *weights, work, sums, *numbers)
    return True


def normalised_excited(
    weights: tuple[Any, ...],
    inputs: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Any,
    moving_variance: Any,
    epsilon: float,
    learns: bool,
) -> tuple[Any, Any, Any] | None:
    """Apply batch normalisation, silu, then squeeze and excitation, in training.

    Return three things: the outputs, the batch's mean and the batch's variance. Return only None if the compiled loops
    do not support the inputs, or if `learns` is False.

    weights: weights of the two convolutions, as for `silu_excited`.
    learns:  whether the batch's mean and variance are used instead of the moving ones.
    """
    if not learns or gamma is None or beta is None or not suits(inputs):
        return None
    if any(value.dtype != torch.float32 or not value.is_contiguous() for value in weights):
        return None
    return NormalisedExcitation.apply(inputs, gamma, beta, epsilon, *weights)


class NormalisedExcitation(torch.autograd.Function):
    """Batch normalisation, silu, and squeeze and excitation, as one operation with its gradients."""

    @staticmethod
    def forward(context: Any, inputs: Any, gamma: Any, beta: Any, epsilon: float, *weights: Any) -> Any:
        code, outputs, statistics = loops("excitation"), torch.empty_like(inputs), inputs.new_empty(3, len(gamma))
        (count, row, channels, work, sums), hidden, images = rows_of(inputs), len(weights[1]), len(inputs)
        center = inputs.view(-1, channels)[:PIXELS].mean(0)
        loops().run(loops().moments, inputs, center, work, sums, count, row, channels)
        number, inner = torch.tensor(epsilon, dtype=torch.float64), torch.empty_like(sums[:, 0])
        means, gates = inputs.new_empty(2, images, channels)
        products = inputs.new_empty(images, hidden)
        values = inputs, gamma, beta, center, number, outputs, statistics, work, sums, len(sums), *weights, inner
        code.run(code.forward, *values, means, products, gates, images, count // images, row, channels, hidden)
        context.save_for_backward(inputs, gamma, beta, *weights, outputs, statistics, means, products, gates)
        context.epsilon = epsilon
        mean, variance, _ = statistics
        context.mark_non_differentiable(mean, variance)
        return outputs, mean, variance

    @staticmethod
    def backward(context: Any, gradient: Any, *_: Any) -> Any:
        inputs, gamma, beta, *weights, outputs, statistics, means, products, gates = context.saved_tensors
        needed = [context.needs_input_grad[place] for place in (0, 1, 2, 4, 5, 6, 7)]
        if torch.is_grad_enabled():  # the caller needs a gradient of this gradient
            function = functools.partial(_by_torch, context.epsilon)
            gradients = differentiable_gradients(function, (inputs, gamma, beta, *weights), needed, gradient)
            return *gradients[:3], None, *gradients[3:]
        first, _, second, _ = weights
        code, result, learned = loops("excitation"), torch.empty_like(inputs), torch.empty_like(statistics[:2])
        (count, row, channels, work, sums), hidden, images = rows_of(inputs), len(weights[1]), len(inputs)
        to_products, to_gates, inner = torch.empty_like(products), torch.empty_like(gates), torch.empty_like(sums[:, 0])
        values: Any = gradient.contiguous(), inputs, outputs, gamma, beta, statistics, result, work, sums
        turned = first.t().contiguous(), second.t().contiguous()
        between = inner, gates, products, to_products, to_gates
        code.run(code.backward, *values, *turned, *between, images, count // images, row, channels, hidden)
        values = result, inputs, gamma, statistics, learned, work, sums, len(sums), count // channels
        loops().run(loops().normalised_part, *values, count * needed[0], row, channels)
        to_first, to_second = means.t() @ to_products, functional.silu(products).t() @ to_gates
        return result, *learned, None, to_first, to_products.sum(0), to_second, to_gates.sum(0)


def _by_torch(epsilon: float, inputs: Any, gamma: Any, beta: Any, *weights: Any) -> Any:
    first, first_bias, second, second_bias = weights
    normalised = functional.batch_norm(inputs.movedim(-1, 1), None, None, gamma, beta, training=True, eps=epsilon)
    outputs = functional.silu(normalised).movedim(1, -1)
    hidden = functional.silu(outputs.mean((1, 2)) @ first + first_bias)
    return outputs * torch.sigmoid(hidden @ second + second_bias)[:, None, None]
