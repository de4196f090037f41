"""Class activation maps: which positions of a feature map raise a network's output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from kcomp.explain.heat.flat import FlatNetwork, run

CamName = Literal["hires-cam", "grad-cam"]


@dataclass(frozen=True)
class GradCam:
    """Computes class activation maps from the gradient of an output with respect to a feature map.

    Attributes:
        name: "hires-cam" or "grad-cam"; see `activation_map`.
        network: The layer calls of the network.
        tensor: The number of the feature map among the network's tensors.
        channels_last: Whether the map is (batch, rows, columns, channels). If not, it is (batch, channels, rows,
            columns).
        outputs: Function from logits to the numbers that are explained, (batch, columns).
    """

    name: CamName
    network: FlatNetwork
    tensor: int
    channels_last: bool
    outputs: Callable[[Any], Any]

    @property
    def key(self) -> list[Any]:
        """The part of a cache key that describes how `compute` works, except `outputs`."""
        return [self.name, self.tensor, self.channels_last]

    def compute(self, images: Any, columns: Any) -> Any:
        """Return heat maps, float32 (batch, rows, columns). Positions with positive values raise the output.

        Args:
            images: A float tensor, as the network takes it.
            columns: (batch, columns), with 1 in the column that is explained and 0 in the others.
        """
        before, after = self.network.split(self.tensor)
        values = self.network.initial_values(images)
        run(before, values)

        def score(features: Any) -> Any:
            later = list(values)
            later[self.tensor] = features
            run(after, later)
            return ops.sum(self.outputs(ops.cast(later[self.network.result], "float32")) * columns)

        features = values[self.tensor]
        return activation_map(self.name, features, gradient(score, features), channels_last=self.channels_last)


def gradient(function: Callable[[Any], Any], features: Any) -> Any:
    if keras.backend.backend() == "torch":
        import torch

        with torch.enable_grad():
            leaf = features.detach().requires_grad_()
            return torch.autograd.grad(function(leaf), leaf)[0]
    import jax

    return jax.grad(function)(features)


def activation_map(name: CamName, features: Any, gradients: Any, *, channels_last: bool) -> Any:
    """Return a class activation map before the ReLU, (batch, rows, columns).

    The map is the sum of feature * gradient over the channels. HiResCAM uses the gradient at the same position.
    Grad-CAM uses the mean gradient of the channel over all positions.

    References:
        Selvaraju et al. 2017, Grad-CAM, equations 1 and 2. Draelos and Carin 2020, Use HiResCAM instead of Grad-CAM for
        faithful explanations of convolutional neural networks, section 3.
    """
    features, gradients = ops.cast(features, "float32"), ops.cast(gradients, "float32")
    sides, channels = ((1, 2), 3) if channels_last else ((2, 3), 1)
    if name == "grad-cam":
        gradients = ops.mean(gradients, sides, keepdims=True)
    return ops.sum(features * gradients, channels)
