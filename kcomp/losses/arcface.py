"""A cross-entropy that requires a margin between the angles to classes."""

import math
from typing import Any

import keras
from keras import ops

from kcomp.losses.base import TargetLoss
from kcomp.losses.probabilities import logsumexp_of_others
from kcomp.targets import OneOf, Target

SMALLEST = 1e-7  # the gradient of sqrt(x) at x = 0 is infinite


class ArcFace(TargetLoss):
    """Cross-entropy in which an image must be closer to its class than to other classes by an angle.

    The network ends in `models.classifier(backbone, target, head="arcface")`. Its logits are scale * cos(a), with the
    angle a between the features of the image and the weights of a class. For the image's class, the loss uses

        scale * cos(a + margin)           if a + margin <= pi
        scale * (cos(a) - margin * sin(margin))   otherwise

    and the logits of the other classes do not change. The second line, from the authors' code, keeps the function
    decreasing. The margin applies to the loss only: predictions are the softmax of the logits.

    The loss of a soft label, such as after MixUp, is the mean of the losses of its classes, weighted by the label.

    Args:
        margin: Angle in radians, from 0 to below pi / 2. 0 is the cross-entropy.
        scale: The scale of the head. None in a recipe, where it is read from the last layer of the network.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If an argument is out of range, or the loss does not fit the target.

    References:
        Deng et al. 2019, ArcFace: additive angular margin loss for deep face recognition, equation 3.

    Examples:
        >>> import math
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> loss = losses.ArcFace(math.pi / 6, scale=2.0, target=targets.OneOf(("cat", "dog")))
        >>> logits = 2 * np.cos([[math.pi / 3, math.pi / 2]])  # with the margin, both angles are pi / 2
        >>> round(float(loss(np.array([[1.0, 0.0]]), logits)), 4)  # log(2)
        0.6931
    """

    fits = (OneOf,)

    def __init__(self, margin: float = 0.5, scale: float | None = None, *, target: Target | None = None) -> None:
        if not 0 <= margin < math.pi / 2:
            raise ValueError(f"margin must be an angle from 0 to below pi / 2; received {margin}")
        if scale is not None and not scale > 0:
            raise ValueError(f"scale must be above 0, or None; received {scale}")
        self.margin, self.scale = margin, scale
        super().__init__(target)

    def bind_to_network(self, network: keras.Model) -> None:
        """Set `scale` to that of the network's last layer.

        Raises:
            ValueError: If the last layer has no attribute `scale`, or `scale` was set to another number.
        """
        scale = getattr(network.layers[-1], "scale", None)
        if not isinstance(scale, int | float):
            raise ValueError(
                "ArcFace needs logits that are scaled cosines: build the network with models.classifier(backbone, "
                f"target, head='arcface'); its last layer is {network.layers[-1].name!r}"
            )
        if self.scale not in (None, scale):
            raise ValueError(f"leave out the scale of ArcFace: it must be the head's, {scale}; received {self.scale}")
        self.scale = scale

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if self.scale is None:
            raise ValueError("outside of a recipe, ArcFace needs the scale of the head: ArcFace(margin, scale)")
        cosines = ops.clip(y_pred / self.scale, -1.0, 1.0)
        sines = ops.sqrt(ops.maximum(1.0 - ops.square(cosines), SMALLEST))
        moved = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        fits = cosines >= math.cos(math.pi - self.margin)
        moved = ops.where(fits, moved, cosines - self.margin * math.sin(self.margin))
        return ops.sum(y_true * ops.softplus(logsumexp_of_others(y_pred) - self.scale * moved), -1)
