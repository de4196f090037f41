"""Apply transforms of torchvision.transforms.v2 to NumPy images, with random numbers from one seed.

Import this module only inside functions, because it imports PyTorch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

# PyTorch's functions and methods that draw random numbers and take a generator.
RANDOM = (
    *("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson", "binomial"),
    *("uniform_", "normal_", "bernoulli_", "random_", "exponential_", "geometric_", "cauchy_", "log_normal_"),
    *("_sample_dirichlet", "_standard_gamma"),
)
LIKE = {"rand_like": torch.rand, "randn_like": torch.randn}  # functions that take no generator


class Draws(TorchFunctionMode):
    """A context in which PyTorch's functions draw from one generator, in place of the global generator.

    The context belongs to one thread. The global generator is not used, because training draws dropout from it at the
    same time.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if name in LIKE and not options.get("device"):
            dtype = options.pop("dtype", None) or args[0].dtype
            return LIKE[name](args[0].shape, dtype=dtype, generator=self.generator)
        if name in RANDOM and options.get("generator") is None:
            options["generator"] = self.generator
        return func(*args, **options)


class TorchTransform:
    """A transform of torchvision with the methods of albumentations.Compose that `Batches` calls.

    Args:
        transform: A torch.nn.Module that takes a uint8 tensor (channels, height, width) and returns a tensor of this
            form, such as a `v2.Compose`.
    """

    def __init__(self, transform: torch.nn.Module) -> None:
        self.transform, self.seed = transform, 0

    def set_random_seed(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, *, image: np.ndarray) -> dict[str, Any]:
        """Return {"image": pixels}, uint8 or float32 of shape (height, width, channels)."""
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        with Draws(self.seed), torch.no_grad():
            result = self.transform(tensor)
        if not isinstance(result, torch.Tensor) or result.ndim != 3:
            kind = getattr(result, "shape", type(result).__name__)
            raise ValueError(f"a torchvision transform must return a tensor (channels, height, width); it gave {kind}")
        return {"image": np.ascontiguousarray(result.numpy().transpose(1, 2, 0))}
