"""Make a GPU compute the same result each time. On the CPU, both backends do so without this."""

import os

NAME = "KCOMP_DETERMINISTIC"


def determinism_is_on() -> bool:
    """Return True if KCOMP_DETERMINISTIC is 1, and False if it is unset or 0. Raise ValueError for any other value."""
    value = os.environ.get(NAME, "0")
    if value not in ("0", "1"):
        raise ValueError(f"{NAME} must be 0 or 1; received {value!r}")
    return value == "1"


def use_determinism(backend: str) -> None:
    """Use only operations of the backend that compute the same result each time. Call this before Keras is imported.

    Some operations are then slower. PyTorch raises RuntimeError for an operation without such a version.

    References:
        https://docs.pytorch.org/docs/stable/notes/randomness.html; https://openxla.org/xla/determinism
    """
    if backend == "jax":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
