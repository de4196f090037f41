"""A loss for labels that are softened predictions of other networks."""

from typing import Any

from keras import ops

from kcomp.losses.base import TargetLoss
from kcomp.targets import AnyOf, OneOf, Target


class Distillation(TargetLoss):
    """Cross-entropy of labels and logits / temperature, multiplied by temperature ** 2.

    Use it with labels of the same temperature: `data.with_pseudo(table, path, temperature=...)`. With weight=1 in
    `with_pseudo`, this is the loss of soft labels of Hinton et al. With a lower weight, Hinton et al. compare the true
    labels with the logits at temperature 1. This loss compares true and soft labels at the same temperature.
    Predictions are computed at temperature 1.

    With an `AnyOf` target, it is the binary cross-entropy, averaged over the known labels.

    Args:
        temperature: Above 0. 1 is the default loss of the target.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If `temperature` is out of range, or the loss does not fit the target.

    References:
        Hinton et al. 2015, Distilling the knowledge in a neural network.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> loss = losses.Distillation(2.0, target=targets.OneOf(("cat", "dog")))
        >>> round(float(loss(np.array([[1.0, 0.0]]), 2 * np.log([[0.75, 0.25]]))), 4)  # 2 ** 2 * -log(0.75)
        1.1507
    """

    fits = (OneOf, AnyOf)

    def __init__(self, temperature: float, *, target: Target | None = None) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0; received {temperature}")
        self.temperature = temperature
        super().__init__(target)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not isinstance(self.bound_target, OneOf):
            return super().call(y_true, y_pred)
        scaled = y_pred / self.temperature
        return self.temperature**2 * ops.categorical_crossentropy(y_true, scaled, from_logits=True)

    def elements(self, labels: Any, logits: Any) -> Any:
        scaled = logits / self.temperature
        return self.temperature**2 * ops.binary_crossentropy(labels, scaled, from_logits=True)
