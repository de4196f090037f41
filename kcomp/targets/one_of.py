"""The target of single-label classification: one class for each image."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kcomp.targets import arrays
from kcomp.targets.classes import ClassTarget

if TYPE_CHECKING:
    import keras

NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class OneOf(ClassTarget):
    """Predict one class for each image.

    The labels have one column for each class: 1 for the image's class and 0 for the others, or soft labels that sum to
    1. A prediction is the softmax of the logits. The default loss is the categorical cross-entropy.

    Args:
        classes: Names of the classes, at least two.

    Raises:
        ValueError: If there are fewer than two classes, or a name is repeated.

    Examples:
        >>> import numpy as np
        >>> from kcomp.targets import OneOf
        >>> target = OneOf(("cat", "dog"))
        >>> target.predict(np.log([[3.0, 1.0]])).round(6).tolist()
        [[0.75, 0.25]]
    """

    name: ClassVar[str] = "one class"
    default_metric: ClassVar[str] = "log_loss"
    shown_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "log_loss", "macro_f1", "roc_auc")
    stacker: ClassVar[str] = "multinomial"

    def __post_init__(self) -> None:
        arrays.check_names(self.classes, 2, "two classes")

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        valid = (labels >= 0).all(1) & (np.abs(labels.sum(1) - 1) <= arrays.TOLERANCE)  # false for NaN
        if not valid.all():
            rule = "each row's labels must be numbers from 0 to 1 that sum to 1"
            raise ValueError(arrays.broken_rule_text(rule, valid, labels, ids))

    def predict(self, logits: np.ndarray) -> np.ndarray:
        return arrays.softmax(logits)

    def predict_tensor(self, logits: Any) -> Any:
        from keras import ops

        return ops.softmax(logits)

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        import keras

        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)

    def decide(self, values: np.ndarray) -> np.ndarray:
        return values.argmax(1)

    def training_metrics(self) -> "list[keras.metrics.Metric]":
        import keras

        return [keras.metrics.CategoricalAccuracy(name="train_accuracy")]

    def prediction_problems(self, values: np.ndarray, ids: Sequence[str]) -> list[str]:
        rules = [
            ("each probability must lie between 0 and 1", arrays.in_range(values, 0, 1)),
            ("each row's probabilities must sum to 1", ~(np.abs(values.sum(1) - 1) > arrays.TOLERANCE)),
        ]
        return arrays.problems(rules, values, ids)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        return self.decide(labels)

    def describe(self, labels: np.ndarray) -> str:
        counts = np.bincount(self.decide(labels), minlength=len(self.classes))
        return f"{len(self.classes)} classes, with rows: {arrays.list_counts(self.classes, counts)}"

    def warnings(self) -> list[str]:
        lines = arrays.warn_similar(self.classes)
        if all(NUMBER.fullmatch(name.strip()) for name in self.classes):
            lines.append("note: all classes are numbers; kcomp treats them as names, without order or distance")
        return lines

    def class_counts(self, labels: np.ndarray) -> np.ndarray:
        return labels.sum(0)

    def row_weights(self, labels: Any, weights: Any) -> Any:
        from keras import ops

        return ops.sum(labels * weights, -1)

    def median(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the median probability of each class over the models, with each row divided by its sum."""
        values = super().median(predictions)
        return np.where(values.any(1, keepdims=True), self.normalized(values), self.average(predictions))

    def normalized(self, predictions: np.ndarray) -> np.ndarray:
        """Return the predictions with each row divided by its sum. A row of zeros does not change."""
        totals = predictions.sum(1, keepdims=True)
        return predictions / np.where(totals > 0, totals, 1.0)

    def tempered(self, predictions: np.ndarray, temperature: float) -> np.ndarray:
        """Return the probabilities raised to the power 1 / temperature, with each row then divided by its sum."""
        return arrays.softmax(np.log(np.maximum(predictions, arrays.SMALLEST)) / temperature)

    def confidence(self, predictions: np.ndarray) -> np.ndarray:
        return predictions.max(1, keepdims=True)

    def hardened(self, predictions: np.ndarray) -> np.ndarray:
        return np.eye(len(self.classes))[self.decide(predictions)]

    def vote(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the share of votes for each class. Each model votes for its most likely class.

        `predictions` has one array for each model. The mean probabilities break ties.
        """
        votes = self.average(predictions)
        rows = np.arange(len(votes))
        for values in predictions:
            votes[rows, values.argmax(1)] += 1
        return votes / (len(predictions) + 1)

    def gmean(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the geometric mean of the models' probabilities, with each row divided by its sum."""
        return arrays.softmax(arrays.mean([np.log(np.maximum(values, arrays.SMALLEST)) for values in predictions]))

    def rank(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the ranks of the rows by the probability of each class, averaged over models.

        The result of each row is then divided by its sum.
        """
        ranks = arrays.mean_rank(predictions)
        return ranks / ranks.sum(1, keepdims=True)
