"""The target of ordinal classification: one of several ordered grades for each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from kcomp.targets import arrays
from kcomp.targets.base import Target

if TYPE_CHECKING:
    import keras

GradesLossName = Literal["regression", "ordinal", "softmax"]


@dataclass(frozen=True)
class Grades(Target):
    """Predict one of several ordered levels for each image, such as none, mild or severe.

    The labels have one column: the position of the level, from 0. A label may lie between two levels, for example after
    MixUp. A prediction is one number from 0 to the last position. Cut points convert the number to a level.

    Args:
        levels: Names of the levels in order, at least two.
        loss_name: The loss, which also determines what the logits mean.
            "regression": one logit, the grade minus the middle of the scale. The loss is the squared error.
            "ordinal": one logit for each level except the first: the log odds that the grade is at least this level.
            The loss is the sum of the binary cross-entropies. The prediction is the expected grade.
            "softmax": one logit for each level. The loss is the categorical cross-entropy. The prediction is the
            expected grade.

    Raises:
        ValueError: If there are fewer than two levels, a name is repeated, or `loss_name` is unknown.

    References:
        For "ordinal": Frank and Hall 2001, A simple approach to ordinal classification. Cao et al. 2020, Rank
        consistent ordinal regression (CORAL), equation 4, with equal weights. In CORAL, the logits also share their
        weights: `models.classifier(backbone, target, head="coral")`.

    Examples:
        >>> import numpy as np
        >>> from kcomp.targets import Grades
        >>> target = Grades(("none", "mild", "severe"), loss_name="ordinal")
        >>> target.outputs
        2
        >>> target.predict(np.array([[0.0, 0.0]])).tolist()
        [[1.0]]
    """

    levels: tuple[str, ...]
    loss_name: GradesLossName = "regression"

    name: ClassVar[str] = "grades"
    default_metric: ClassVar[str] = "quadratic_kappa"
    shown_metrics: ClassVar[tuple[str, ...]] = ("quadratic_kappa", "mae", "accuracy")
    metric_inputs: ClassVar[tuple[str, ...]] = ("predictions", "decisions")
    stacker: ClassVar[str] = "ridge"

    def __post_init__(self) -> None:
        arrays.check_names(self.levels, 2, "two levels")
        if self.loss_name not in get_args(GradesLossName):
            allowed = ", ".join(map(repr, get_args(GradesLossName)))
            raise ValueError(f"loss_name must be one of {allowed}; received {self.loss_name!r}")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("grade",)

    @property
    def outputs(self) -> int:
        return {"regression": 1, "ordinal": self.top, "softmax": len(self.levels)}[self.loss_name]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.levels

    @property
    def top(self) -> int:
        """The position of the last level, counted from 0."""
        return len(self.levels) - 1

    def has_labels_of(self, other: Target) -> bool:
        return super().has_labels_of(other) and other.class_names == self.levels

    def normalized(self, predictions: np.ndarray) -> np.ndarray:
        return np.clip(predictions, 0, self.top)

    def head_order(self, other: Target) -> list[int] | None:
        return list(range(self.outputs)) if other == self else None

    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        valid = arrays.in_range(labels, 0, self.top)
        if not valid.all():
            rule = f"each grade must be a number from 0 ({self.levels[0]}) to {self.top} ({self.levels[-1]})"
            raise ValueError(arrays.broken_rule_text(rule, valid, labels, ids))

    def predict(self, logits: np.ndarray) -> np.ndarray:
        if self.loss_name == "regression":
            return np.clip(logits.astype(np.float64) + self.top / 2, 0, self.top)
        if self.loss_name == "ordinal":
            return arrays.sigmoid(logits).sum(1, keepdims=True)
        return (arrays.softmax(logits) * np.arange(len(self.levels))).sum(1, keepdims=True)

    def predict_tensor(self, logits: Any) -> Any:
        from keras import ops

        if self.loss_name == "regression":
            return ops.clip(logits + self.top / 2, 0.0, float(self.top))
        if self.loss_name == "ordinal":
            return ops.sum(ops.sigmoid(logits), 1, keepdims=True)
        levels = ops.arange(len(self.levels), dtype=logits.dtype)
        return ops.sum(ops.softmax(logits) * levels, 1, keepdims=True)

    def explained_tensor(self, logits: Any) -> Any:
        return logits if self.loss_name == "regression" else self.predict_tensor(logits)

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        if self.loss_name == "regression" and label_smoothing:
            raise ValueError(
                "label smoothing needs loss_name='ordinal' or 'softmax', not 'regression'; "
                f"received label_smoothing={label_smoothing}"
            )
        from kcomp.targets import losses

        kinds = {
            "regression": losses.SquaredGradeLoss,
            "ordinal": losses.OrdinalLoss,
            "softmax": losses.SoftmaxGradeLoss,
        }
        return kinds[self.loss_name](self.top, label_smoothing)

    def decide(self, values: np.ndarray) -> np.ndarray:
        return np.rint(values[:, 0]).astype(int)

    def prediction_problems(self, values: np.ndarray, ids: Sequence[str]) -> list[str]:
        valid = arrays.in_range(values, 0, self.top)
        return arrays.problems([(f"each grade must lie between 0 and {self.top}", valid)], values, ids)

    def strata(self, labels: np.ndarray) -> np.ndarray:
        return self.decide(labels)

    def describe(self, labels: np.ndarray) -> str:
        counts = np.bincount(self.decide(labels), minlength=len(self.levels))
        return f"{len(self.levels)} grades, with rows: {arrays.list_counts(self.levels, counts)}"

    def warnings(self) -> list[str]:
        return arrays.warn_similar(self.levels)

    def class_counts(self, labels: np.ndarray) -> np.ndarray:
        """Return how many rows each level has. A label of 1.25 counts as 0.75 of level 1 and 0.25 of level 2."""
        return np.maximum(1 - np.abs(labels - np.arange(len(self.levels))), 0).sum(0)

    def row_weights(self, labels: Any, weights: Any) -> Any:
        """Return the weight of each row's level. For a label between two levels, the two weights are interpolated."""
        from keras import ops

        from kcomp.targets.losses import level_shares

        return ops.sum(level_shares(labels, self.top) * weights, -1)
