"""Compute the values and gradients of functions, on JAX and PyTorch."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

# A function of nested tensors. It returns the outputs to differentiate, and other results.
Function = Callable[[Any], tuple[list[Any], Any]]


def pull_back(
    functions: Sequence[Function], arguments: Sequence[Any], cotangents: Sequence[list[Any]]
) -> list[tuple[list[Any], Any, Any]]:
    """Call functions. Return three things for each function: its outputs, the gradients of its arguments, and its other
    results.

    The gradients are those of sum(output * cotangent) over all outputs.

    Args:
        functions: The functions.
        arguments: The argument of each function: nested lists and dicts of tensors.
        cotangents: For each function, the gradients of its outputs.
    """
    if keras.backend.backend() == "torch":
        return [on_torch(*triple) for triple in zip(functions, arguments, cotangents, strict=True)]
    import jax

    @jax.jit
    def run(arguments: Any, cotangents: Any) -> Any:
        results = []
        for function, argument, weights in zip(functions, arguments, cotangents, strict=True):
            outputs, pull, others = jax.vjp(function, argument, has_aux=True)
            results.append((outputs, pull(weights)[0], others))
        return results

    return run(list(arguments), list(cotangents))


def on_torch(function: Function, arguments: Any, cotangents: list[Any]) -> tuple[list[Any], Any, Any]:
    import torch

    leaves = keras.tree.map_structure(lambda value: value.detach().clone().requires_grad_(), arguments)
    outputs, others = function(leaves)
    flat = keras.tree.flatten(leaves)
    connected = [pair for pair in zip(outputs, cotangents, strict=True) if pair[0].requires_grad]
    gradients = list(flat)
    if connected:
        first, second = zip(*connected, strict=True)
        gradients = torch.autograd.grad(first, flat, second, allow_unused=True)
    zeros = [torch.zeros_like(leaf) if value is None else value for leaf, value in zip(flat, gradients, strict=True)]
    return list(outputs), keras.tree.pack_sequence_as(leaves, zeros), others
