"""Load kcomp's compiled loops, and decide which tensors they support."""

import functools
import importlib
from typing import Any

import torch

ENOUGH = 1 << 17  # numbers in a tensor; for smaller tensors, calling a loop takes longer than it saves


def covered(values: Any) -> bool:
    """Return whether the compiled loops support a tensor, and are faster for a tensor of this size."""
    if exported() or transformed():
        return False
    return (
        values.numel() >= ENOUGH
        and values.dtype == torch.float32
        and values.device.type == "cpu"
        and type(values) is torch.Tensor  # no subclass: tracing uses subclasses
        and values.is_contiguous()
        and loops() is not None
    )


def exported() -> bool:
    """Return whether PyTorch is exporting or tracing a model. Sizes and addresses are then symbols instead of
    numbers.
    """
    return bool(torch.compiler.is_compiling() or torch.jit.is_tracing())


def transformed() -> bool:
    """Return whether torch.func or forward-mode differentiation is active. Both support only PyTorch's operations."""
    stack = getattr(torch._C, "_functorch", None)  # neither name is public
    level = getattr(torch.autograd.forward_ad, "_current_level", -1)
    return level >= 0 or (stack is not None and stack.peek_interpreter_stack() is not None)


@functools.cache
def loops(name: str = "silu") -> Any:
    """Return the module kcomp.fast.cpu_loops.`name`, or None if Numba or GNU's OpenMP is missing."""
    try:
        return importlib.import_module(f"kcomp.fast.cpu_loops.{name}")
    except Exception:  # noqa: BLE001 - a Numba that does not fit NumPy or this processor may raise any error
        return None


def differentiable_gradients(function: Any, values: Any, needed: Any, gradient: Any) -> list[Any]:
    """Return gradients of a function in a form that PyTorch can differentiate again.

    function: computes the outputs from `values` by PyTorch's own operations.
    needed:   whether the gradient of each value is needed. Gradients that are not needed are None.
    gradient: the gradient of the outputs.
    """
    leaves = [value for value, needs in zip(values, needed, strict=True) if needs]
    gradients = iter(torch.autograd.grad(function(*values), leaves, gradient, create_graph=True))
    return [next(gradients) if needs else None for needs in needed]
