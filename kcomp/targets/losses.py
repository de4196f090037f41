"""The default losses of targets, as Keras losses. Import this module only inside functions.

`get_config` of a loss must return all its numbers, which are part of the cache key of a compiled training step.
"""

import abc
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class MaskedLoss(keras.losses.Loss, abc.ABC):
    """A loss that ignores missing labels (NaN). It is the mean loss over all known labels of a batch.

    Subclasses define the loss of a single label in `elements`.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        known = ops.logical_not(ops.isnan(y_true))
        # The gradient of where(known, f(NaN), 0) is NaN, so NaN labels are replaced before the loss is computed.
        labels = ops.where(known, y_true, ops.zeros_like(y_true))
        values = ops.where(known, self.elements(labels, y_pred), ops.zeros_like(y_true))
        count = ops.sum(ops.cast(known, values.dtype))
        rows = ops.cast(ops.shape(y_true)[0], values.dtype)
        return ops.sum(values, -1) * (rows / ops.maximum(count, 1.0))

    @abc.abstractmethod
    def elements(self, labels: Any, logits: Any) -> Any:
        """Return the loss of each single label, shape (rows, columns). Labels are never NaN here."""


class BinaryLoss(MaskedLoss):
    """Binary cross-entropy of each label. Label smoothing moves labels towards 1/2."""

    def __init__(self, label_smoothing: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.label_smoothing = label_smoothing

    def elements(self, labels: Any, logits: Any) -> Any:
        return ops.binary_crossentropy(smooth(labels, self.label_smoothing, 2), logits, from_logits=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


class NumbersLoss(MaskedLoss):
    """Huber loss with delta 1. Labels are first standardized: (label - mean) / scale."""

    def __init__(self, mean: Sequence[float], scale: Sequence[float], **options: Any) -> None:
        super().__init__(**options)
        self.mean, self.scale = tuple(mean), tuple(scale)

    def elements(self, labels: Any, logits: Any) -> Any:
        mean, scale = (ops.convert_to_tensor(values, dtype=logits.dtype) for values in (self.mean, self.scale))
        return huber(logits - (labels - mean) / scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": list(self.mean), "scale": list(self.scale)}


class TweedieLoss(MaskedLoss):
    """Tweedie loss with power 1.5. Labels are divided by the mean, and the logit is the logarithm of the prediction."""

    def __init__(self, mean: Sequence[float], **options: Any) -> None:
        super().__init__(**options)
        self.mean = tuple(mean)

    def elements(self, labels: Any, logits: Any) -> Any:
        return tweedie(labels / ops.convert_to_tensor(self.mean, dtype=logits.dtype), logits, 1.5)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": list(self.mean)}


class GradeLoss(keras.losses.Loss):
    """The base class of losses for grades. Labels (rows, 1) lie between 0 and `top`, the highest grade."""

    def __init__(self, top: int, label_smoothing: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.top, self.label_smoothing = top, label_smoothing

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "top": self.top, "label_smoothing": self.label_smoothing}


class SquaredGradeLoss(GradeLoss):
    """Squared error of the grade. The logit is the grade minus `top` / 2."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_pred + self.top / 2 - y_true), -1)


class OrdinalLoss(GradeLoss):
    """Sum of `top` binary cross-entropies. Number k, from 1 to `top`, is for the statement "the grade is at least
    k".
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        reached = ops.clip(y_true - ops.arange(self.top, dtype=y_true.dtype), 0.0, 1.0)
        values = ops.binary_crossentropy(smooth(reached, self.label_smoothing, 2), y_pred, from_logits=True)
        return ops.sum(values, -1)


class SoftmaxGradeLoss(GradeLoss):
    """Categorical cross-entropy over the grades. A label between two grades has a probability for each of them."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        shares = smooth(level_shares(y_true, self.top), self.label_smoothing, self.top + 1)
        return ops.categorical_crossentropy(shares, y_pred, from_logits=True)


def huber(errors: Any, delta: float = 1.0) -> Any:
    size = ops.abs(errors)
    return ops.where(size <= delta, 0.5 * ops.square(errors), delta * (size - 0.5 * delta))


def tweedie(labels: Any, logits: Any, power: float) -> Any:
    """Return the Tweedie loss of labels and the predictions exp(logits). `power` is from 1 to below 2.

    For logits below -20 or above 20, the loss is a straight line, so that it stays finite.
    """
    inner = ops.clip(logits, -20.0, 20.0)
    larger, smaller = ops.exp((2.0 - power) * inner), ops.exp((1.0 - power) * inner)
    gained = inner if power == 1 else smaller / (1.0 - power)
    slope = larger - labels * smaller
    return larger / (2.0 - power) - labels * gained + slope * (logits - inner)


def level_shares(labels: Any, top: int) -> Any:
    """Return the probabilities of all grades (rows, top + 1) for grades (rows, 1).

    For example, 1.25 becomes 0.75 of grade 1 and 0.25 of grade 2.
    """
    return ops.maximum(1.0 - ops.abs(labels - ops.arange(top + 1, dtype=labels.dtype)), 0.0)


def smooth(labels: Any, share: float, classes: int) -> Any:
    """Return labels after label smoothing: labels * (1 - share) + share / classes."""
    return labels * (1.0 - share) + share / classes if share else labels
