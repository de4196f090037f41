"""Losses that give less weight to labels that the network predicts with confidence."""

from typing import Any

from keras import ops

from kcomp.losses.base import TargetLoss, check_share
from kcomp.losses.probabilities import log_probabilities, log_sigmoids
from kcomp.targets import AnyOf, OneOf, Target
from kcomp.targets.losses import smooth

SMALLEST = 1e-7  # the gradient of x ** gamma at x = 0 is infinite for gamma below 1


class Focal(TargetLoss):
    """Cross-entropy in which confident and correct predictions have less weight.

    With the probability p of a label, the loss of a label of 1 is

        -(1 - p) ** gamma * log(p)

    With a `OneOf` target, p is the softmax, and the loss of a row is the loss of its class. With an `AnyOf` target, p
    is the sigmoid, and the loss of a label of 0 is -p ** gamma * log(1 - p). The loss is averaged over the known
    labels. The loss of a soft label, such as after MixUp, is the mean of the losses of 1 and 0, weighted by the label.

    Keras's focal losses clip probabilities, so that a confident error has no gradient. They also do not leave out
    missing labels.

    Args:
        gamma: How fast the weight falls, from 0. 0 is the cross-entropy.
        alpha: Weight of labels of 1, between 0 and 1, for `AnyOf`. Labels of 0 have the weight 1 - alpha. None gives
            both the weight 1. For `OneOf`, use `Stage(class_weights=...)`.
        label_smoothing: Share of each label that is divided equally among the classes, from 0 to below 1.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If an argument is out of range, or the loss does not fit the target.

    References:
        Lin et al. 2017, Focal loss for dense object detection, equations 4 and 5.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> loss = losses.Focal(gamma=2.0, target=targets.OneOf(("cat", "dog")))
        >>> round(float(loss(np.array([[1.0, 0.0]]), np.log([[0.75, 0.25]]))), 4)  # 0.25 ** 2 * -log(0.75)
        0.018
    """

    fits = (OneOf, AnyOf)

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        label_smoothing: float = 0.0,
        *,
        target: Target | None = None,
    ) -> None:
        if not gamma >= 0:
            raise ValueError(f"gamma must be at least 0; received {gamma}")
        if alpha is not None and not 0 < alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, or None; received {alpha}")
        self.gamma, self.alpha = gamma, alpha
        self.label_smoothing = check_share("label_smoothing", label_smoothing)
        super().__init__(target)

    def bind(self, target: Target) -> None:
        super().bind(target)
        if self.alpha is not None and isinstance(target, OneOf):
            raise ValueError(
                "alpha of Focal weights labels of 1 against labels of 0, which one class for each image does not have; "
                "use Stage(class_weights=...)"
            )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not isinstance(self.bound_target, OneOf):
            return super().call(y_true, y_pred)
        labels = smooth(y_true, self.label_smoothing, y_pred.shape[-1])
        log_likely, log_unlikely = log_probabilities(y_pred)
        return -ops.sum(labels * ops.exp(self.gamma * log_unlikely) * log_likely, -1)

    def elements(self, labels: Any, logits: Any) -> Any:
        labels = smooth(labels, self.label_smoothing, 2)
        log_likely, log_unlikely = log_sigmoids(logits)
        positive = -ops.exp(self.gamma * log_unlikely) * log_likely
        negative = -ops.exp(self.gamma * log_likely) * log_unlikely
        if self.alpha is None:
            return labels * positive + (1.0 - labels) * negative
        return self.alpha * labels * positive + (1.0 - self.alpha) * (1.0 - labels) * negative


class Asymmetric(TargetLoss):
    """Binary cross-entropy for multi-label data that gives easy labels of 0 little weight or none.

    With the probability p of a label and q = max(p - margin, 0), the loss of a label is

        1:  -(1 - p) ** gamma_positive * log(p)
        0:  -q ** gamma_negative * log(1 - q)

    It is averaged over the known labels of a batch. The loss of a soft label is the mean of both, weighted by the
    label.

    Args:
        gamma_negative: How fast the weight of labels of 0 falls as they become more certain, from 0.
        gamma_positive: The same for labels of 1, from 0.
        margin: Labels of 0 whose predicted probability is below this have no loss, from 0 to below 1.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If an argument is out of range, or the loss does not fit the target.

    References:
        Ridnik et al. 2021, Asymmetric loss for multi-label classification. The defaults are those of the authors' code,
        which sums over the labels.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> loss = losses.Asymmetric(target=targets.AnyOf(("rust",)))
        >>> float(loss(np.array([[0.0]]), np.log([[0.04 / 0.96]])))  # the probability is 0.04, below the margin
        0.0
    """

    fits = (AnyOf,)

    def __init__(
        self,
        gamma_negative: float = 4.0,
        gamma_positive: float = 1.0,
        margin: float = 0.05,
        *,
        target: Target | None = None,
    ) -> None:
        if not (gamma_negative >= 0 and gamma_positive >= 0):
            raise ValueError(
                f"gamma_negative and gamma_positive must be at least 0; received {gamma_negative} and {gamma_positive}"
            )
        self.gamma_negative, self.gamma_positive = gamma_negative, gamma_positive
        self.margin = check_share("margin", margin)
        super().__init__(target)

    def elements(self, labels: Any, logits: Any) -> Any:
        log_likely, log_unlikely = log_sigmoids(logits)
        positive = -ops.exp(self.gamma_positive * log_unlikely) * log_likely
        if self.margin:
            shifted = ops.maximum(ops.sigmoid(logits) - self.margin, 0.0)
            weight = ops.power(ops.maximum(shifted, SMALLEST), self.gamma_negative)
            negative = -weight * ops.log1p(-shifted)
        else:
            negative = -ops.exp(self.gamma_negative * log_likely) * log_unlikely
        return labels * positive + (1.0 - labels) * negative
