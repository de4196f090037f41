"""Which tensors PyTorch's loops of our own read, and where they are."""

import functools
import importlib
from typing import Any

import torch

ENOUGH = 1 << 17  # numbers; below, calling a loop takes longer than it saves, and nobody should wait for Numba's import


def covered(values: Any) -> bool:
    """Whether loops can read and write a tensor, and pay."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # nor exported; sizes are no numbers there
        return False
    return (
        values.numel() >= ENOUGH
        and values.dtype == torch.float32
        and values.device.type == "cpu"
        and type(values) is torch.Tensor  # no stand-in for one, as tracing uses
        and values.is_contiguous()
        and loops() is not None
    )


@functools.cache
def loops(name: str = "loops") -> Any:
    """A module of kcomp.models that has loops, or None where this Python or this PyTorch cannot have them."""
    try:
        return importlib.import_module(f"kcomp.models.{name}")
    except Exception:  # noqa: BLE001 - a Numba that does not fit NumPy or this processor fails in any way
        return None
