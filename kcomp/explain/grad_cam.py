"""Grad-CAM: which places of a feature map raise a network's output (Selvaraju et al. 2017)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kcomp.explain.flat import FlatNetwork, run


@dataclass(frozen=True)
class GradCam:
    """Compute class activation maps from the gradient of an output by a feature map.

    network:       the layer calls of the network.
    tensor:        the number of the feature map among the network's tensors.
    channels_last: whether the map is (batch, rows, columns, channels), else (batch, channels, rows, columns).
    outputs:       function from logits to the numbers that are explained, (batch, columns).
    """

    network: FlatNetwork
    tensor: int
    channels_last: bool
    outputs: Callable[[Any], Any]

    @property
    def key(self) -> list[Any]:
        """What `compute` depends on besides the network and `outputs`, for a cache key."""
        return ["grad-cam", self.tensor, self.channels_last]

    def compute(self, images: Any, columns: Any) -> Any:
        """Return the maps, float32 (batch, rows, columns). Positive values raise the output.

        images:  a float tensor, as the network takes it.
        columns: (batch, columns) of zeros and a one for the column that is explained.
        """
        before, after = self.network.split(self.tensor)
        values = self.network.start(images)
        run(before, values)

        def score(features: Any) -> Any:
            later = list(values)
            later[self.tensor] = features
            run(after, later)
            return ops.sum(self.outputs(ops.cast(later[self.network.result], "float32")) * columns)

        features = values[self.tensor]
        return activation_map(features, gradient(score, features), channels_last=self.channels_last)


def gradient(function: Callable[[Any], Any], features: Any) -> Any:
    """Return the gradient of a function, which returns one number, by its tensor argument."""
    if keras.backend.backend() == "torch":
        import torch

        with torch.enable_grad():
            leaf = features.detach().requires_grad_()
            return torch.autograd.grad(function(leaf), leaf)[0]
    import jax

    return jax.grad(function)(features)


def activation_map(features: Any, gradients: Any, *, channels_last: bool) -> Any:
    """Return Grad-CAM without its ReLU: the sum of the channels, each times its mean gradient, (batch, rows, columns).

    References:
        Selvaraju et al. 2017, Grad-CAM, equations 1 and 2.
    """
    features, gradients = ops.cast(features, "float32"), ops.cast(gradients, "float32")
    sides, channels = ((1, 2), 3) if channels_last else ((2, 3), 1)
    return ops.sum(features * ops.mean(gradients, sides, keepdims=True), channels)
