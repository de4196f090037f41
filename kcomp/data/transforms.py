"""Transforms of single images: what `Batches` needs of them, and which kinds it takes."""

import sys
from typing import Any, Protocol

import numpy as np


class Transform(Protocol):
    """A protocol: the methods of albumentations.Compose that `Batches` calls."""

    def set_random_seed(self, seed: int) -> None: ...
    def __call__(self, *, image: np.ndarray) -> dict[str, Any]: ...


def as_transform(transform: Any) -> Transform | None:
    """Return an albumentations.Compose unchanged, and a transform of torchvision in a wrapper. None stays None.

    Raises:
        ValueError: If the transform is of another kind.
    """
    torch = sys.modules.get("torch")  # a transform of torchvision has imported it
    if torch is not None and isinstance(transform, torch.nn.Module):
        from kcomp.data.torch_transforms import TorchTransform

        return TorchTransform(transform)
    if transform is not None and not (callable(transform) and hasattr(transform, "set_random_seed")):
        raise ValueError(
            "transform must be an albumentations.Compose, a transform of torchvision.transforms.v2, or None; "
            f"received {transform!r}"
        )
    return transform
