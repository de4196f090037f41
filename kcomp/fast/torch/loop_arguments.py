"""Which tensors PyTorch's loops of our own read, and where they are."""

import functools
import importlib
from typing import Any

import torch

ENOUGH = 1 << 17  # numbers; below, calling a loop takes longer than it saves, and nobody should wait for Numba's import


def covered(values: Any) -> bool:
    """Whether loops can read and write a tensor, and pay."""
    if exported() or transformed():
        return False
    return (
        values.numel() >= ENOUGH
        and values.dtype == torch.float32
        and values.device.type == "cpu"
        and type(values) is torch.Tensor  # no stand-in for one, as tracing uses
        and values.is_contiguous()
        and loops() is not None
    )


def exported() -> bool:
    """Whether PyTorch records what is called, for which sizes and memory are no numbers."""
    return bool(torch.compiler.is_compiling() or torch.jit.is_tracing())


def transformed() -> bool:
    """Whether torch.func or forward-mode differentiation looks on, which knows PyTorch's operations alone."""
    stack = getattr(torch._C, "_functorch", None)  # neither name is public
    level = getattr(torch.autograd.forward_ad, "_current_level", -1)
    return level >= 0 or (stack is not None and stack.peek_interpreter_stack() is not None)


@functools.cache
def loops(name: str = "silu") -> Any:
    """A module of this package that has loops, or None where this Python or this PyTorch cannot have them."""
    try:
        return importlib.import_module(f"kcomp.fast.cpu_loops.{name}")
    except Exception:  # noqa: BLE001 - a Numba that does not fit NumPy or this processor fails in any way
        return None


def gradients_again(function: Any, values: Any, needed: Any, gradient: Any) -> list[Any]:
    """Gradients by PyTorch's own operations, from which further gradients follow; None for values that need none."""
    leaves = [value for value, needs in zip(values, needed, strict=True) if needs]
    found = iter(torch.autograd.grad(function(*values), leaves, gradient, create_graph=True))
    return [next(found) if needs else None for needs in needed]
