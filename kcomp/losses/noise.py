"""A loss for data with wrong labels."""

from typing import Any

from keras import ops

from kcomp.losses.base import TargetLoss
from kcomp.losses.probabilities import log_sigmoids
from kcomp.targets import AnyOf, OneOf, Target


class GeneralizedCrossentropy(TargetLoss):
    """A loss between cross-entropy and mean absolute error, less influenced by wrong labels than cross-entropy.

    With the probability p of a label, the loss of a label of 1 is

        (1 - p ** q) / q

    Its gradient is that of the cross-entropy times p ** q, so a label that the network finds unlikely has little
    weight. With a `OneOf` target, p is the softmax. With an `AnyOf` target, p is the sigmoid, and a label of 0 has the
    same loss with 1 - p. The loss is averaged over the known labels. The loss of a soft label is the mean of the losses
    of both labels, weighted by the label.

    The network also learns difficult classes and correct but unusual labels more slowly. `kcomp check` and `kcomp
    explain` find wrong labels.

    Args:
        q: Above 0, at most 1. Near 0, the loss is the cross-entropy. For 1, it is 1 - p. With a `OneOf` target, this is
            half of the absolute error, summed over the classes.
        target: The target of the labels. None in a recipe, where the stage sets it.

    Raises:
        ValueError: If `q` is out of range, or the loss does not fit the target.

    References:
        Zhang and Sabuncu 2018, Generalized cross entropy loss for training deep neural networks with noisy labels.

    Examples:
        >>> import numpy as np
        >>> from kcomp import losses, targets
        >>> loss = losses.GeneralizedCrossentropy(q=0.5, target=targets.OneOf(("cat", "dog")))
        >>> round(float(loss(np.array([[1.0, 0.0]]), np.log([[0.25, 0.75]]))), 4)  # (1 - 0.5) / 0.5
        1.0
    """

    fits = (OneOf, AnyOf)

    def __init__(self, q: float = 0.7, *, target: Target | None = None) -> None:
        if not 0 < q <= 1:
            raise ValueError(f"q must be above 0 and at most 1; received {q}")
        self.q = q
        super().__init__(target)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not isinstance(self.bound_target, OneOf):
            return super().call(y_true, y_pred)
        return ops.sum(y_true * self._of(ops.log_softmax(y_pred, -1)), -1)

    def elements(self, labels: Any, logits: Any) -> Any:
        log_likely, log_unlikely = log_sigmoids(logits)
        return labels * self._of(log_likely) + (1.0 - labels) * self._of(log_unlikely)

    def _of(self, log_probability: Any) -> Any:
        return -ops.expm1(self.q * log_probability) / self.q
