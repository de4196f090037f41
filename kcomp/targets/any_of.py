"""The target of multi-label classification: any number of classes for each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kcomp.targets import arrays
from kcomp.targets.classes import ClassTarget

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class AnyOf(ClassTarget):
    """Predict for each class, independently, whether an image shows it.

    The labels have one column for each class. A cell is 0, 1, a soft label between 0 and 1, or NaN for a missing label.
    A prediction is the sigmoid of each logit. The default loss is the binary cross-entropy, averaged over the known
    labels of a batch.

    Args:
        classes: Names of the classes, at least one.

    Raises:
        ValueError: If there is no class, or a name is repeated.

    Examples:
        >>> import numpy as np
        >>> from kcomp.targets import AnyOf
        >>> target = AnyOf(("rust", "scab"))
        >>> target.predict(np.log([[3.0, 0.25]])).round(6).tolist()
        [[0.75, 0.2]]
    """

    name: ClassVar[str] = "several labels"
    default_metric: ClassVar[str] = "roc_auc"
    shown_metrics: ClassVar[tuple[str, ...]] = ("roc_auc", "log_loss", "average_precision", "macro_f1")
    stacker: ClassVar[str] = "binary"

    def __post_init__(self) -> None:
        arrays.check_names(self.classes, 1, "one label")

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        valid = arrays.in_range(np.where(np.isnan(labels), 0, labels), 0, 1)
        if not valid.all():
            rule = "each label must be a number from 0 to 1, or NaN if it is missing"
            raise ValueError(arrays.broken_rule_text(rule, valid, labels, ids))

    def predict(self, logits: np.ndarray) -> np.ndarray:
        return arrays.sigmoid(logits)

    def predict_tensor(self, logits: Any) -> Any:
        from keras import ops

        return ops.sigmoid(logits)

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        from kcomp.targets.losses import BinaryLoss

        return BinaryLoss(label_smoothing)

    def decide(self, values: np.ndarray) -> np.ndarray:
        return (values > 0.5).astype(int)  # 0 for NaN

    def prediction_problems(self, values: np.ndarray, ids: Sequence[str]) -> list[str]:
        rules = [("each probability must lie between 0 and 1", arrays.in_range(values, 0, 1))]
        return arrays.problems(rules, values, ids)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        return self.decide(labels).astype(bool)

    def describe(self, labels: np.ndarray) -> str:
        counts = self.decide(labels).sum(0)
        text = f"{len(self.classes)} labels, with rows: {arrays.list_counts(self.classes, counts)}"
        missing = int(np.isnan(labels).sum())
        return f"{text}; {missing} labels are missing" if missing else text

    def warnings(self) -> list[str]:
        return arrays.warn_similar(self.classes)

    def class_counts(self, labels: np.ndarray) -> np.ndarray:
        return np.nansum(labels, 0)

    def row_weights(self, labels: Any, weights: Any) -> Any:
        """Return a loss factor for each row: the mean weight of the classes that its image shows. Without a class, it
        is 1.
        """
        from keras import ops

        known = ops.where(ops.isnan(labels), 0.0, labels)
        total = ops.sum(known, -1)
        some = total > 0
        return ops.where(some, ops.sum(known * weights, -1) / ops.where(some, total, 1.0), 1.0)

    def vote(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the share of models that predict a probability above 1/2, for each row and class.

        `predictions` has one array for each model. The mean probability breaks ties.
        """
        votes = self.average(predictions)
        for values in predictions:
            votes += values > 0.5
        return votes / (len(predictions) + 1)

    def gmean(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return g(p) / (g(p) + g(1 - p)). p are the models' probabilities, and g is the geometric mean over models."""
        return arrays.sigmoid(arrays.mean([arrays.log_odds(values) for values in predictions]))

    def tempered(self, predictions: np.ndarray, temperature: float) -> np.ndarray:
        """Divide the log odds of the probabilities by the temperature. Return the new probabilities."""
        return arrays.sigmoid(arrays.log_odds(predictions) / temperature)

    def confidence(self, predictions: np.ndarray) -> np.ndarray:
        return np.maximum(predictions, 1 - predictions)

    def rank(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the ranks of the rows by the probability of each class, averaged over models.

        The ranks are divided by the number of rows.
        """
        return arrays.mean_rank(predictions) / len(predictions[0])
