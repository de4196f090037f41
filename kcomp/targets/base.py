"""The base class of all targets."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from kcomp.targets import arrays

if TYPE_CHECKING:
    import keras


class Target(abc.ABC):
    """The task of a competition: what the labels and predictions are, and how logits become predictions.

    Subclasses are frozen dataclasses. Two targets are equal if they have the same class and equal fields.

    Attributes:
        name: Name of the kind of target, in files and messages.
        default_metric: Name of the metric that is used if the recipe sets none.
        shown_metrics: Names of the metrics that are printed and logged besides the recipe's own.
        metric_inputs: Which metrics fit the target: values of the attribute `on` of `kcomp.metrics.Metric`.
        methods: Names of the methods of `kcomp ensemble` that fit the target.
        calibrations: Names of the calibrations of `kcomp ensemble` that fit the target.
        stacker: The regression of `kcomp ensemble --method stack`: "multinomial", "binary" (one for each label) or
            "ridge".

    Examples:
        >>> from kcomp.targets import OneOf, Target
        >>> isinstance(OneOf(("cat", "dog")), Target)
        True
    """

    name: ClassVar[str]
    default_metric: ClassVar[str]
    shown_metrics: ClassVar[tuple[str, ...]]
    metric_inputs: ClassVar[tuple[str, ...]]
    methods: ClassVar[tuple[str, ...]] = ("mean", "median")
    calibrations: ClassVar[tuple[str, ...]] = ("isotonic",)
    stacker: ClassVar[str]

    @property
    @abc.abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the label columns, in order."""

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """The names of the columns of a prediction, in order."""
        return self.columns

    @property
    def outputs(self) -> int:
        """The number of logits that a network returns for an image."""
        return len(self.columns)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in order. Empty if the target has no classes."""
        return ()

    @property
    def unit(self) -> np.ndarray:
        """The typical difference between two predictions, for each column, shape (prediction columns,).

        It is 1 for probabilities and grades. For regression, it is the standard deviation of the labels.
        """
        return np.ones(len(self.prediction_columns))

    def has_labels_of(self, other: "Target") -> bool:
        """Return whether `other` has the same kind of labels and the same columns in any order."""
        return type(other) is type(self) and set(other.columns) == set(self.columns)

    def head_order(self, other: "Target") -> list[int] | None:
        """Return the positions of this target's outputs among the outputs of `other`. None if the two have other
        columns.
        """
        if type(other) is not type(self) or set(other.columns) != set(self.columns):
            return None
        return [other.columns.index(name) for name in self.columns]

    @abc.abstractmethod
    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise ValueError if a label is invalid. The message has the first invalid row. `labels` are float64 (rows,
        columns).
        """

    def fitted(self, labels: np.ndarray) -> Self:
        """Return a copy of the target with statistics of the training labels (rows, columns), such as their mean and
        scale.
        """
        return self

    @abc.abstractmethod
    def predict(self, logits: np.ndarray) -> np.ndarray:
        """Return predictions, float64 (rows, prediction columns), for logits (rows, outputs)."""

    @abc.abstractmethod
    def predict_tensor(self, logits: Any) -> Any:
        """Return the predictions for logits, like `predict`, but for tensors of Keras's backend."""

    def explained_tensor(self, logits: Any) -> Any:
        """Return the numbers that a heat map explains, (rows, prediction columns): logits of classes, or predicted
        numbers.
        """
        return logits

    @abc.abstractmethod
    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        """Return the default loss: a Keras loss that takes labels (rows, columns) and logits (rows, outputs).

        Args:
            label_smoothing: Share of each label that is divided equally among all classes, from 0 to below 1.

        Raises:
            ValueError: If the target has no label smoothing and `label_smoothing` is not 0.
        """

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Return the predicted classes: the most likely class of probabilities, or the nearest level of a grade.

        Soft labels are converted in the same way.

        Args:
            values: Predictions or labels, (rows, columns).

        Returns:
            The index of each row's class, int (rows,). For multi-label data: 0 or 1 for each label, (rows, columns).

        Raises:
            ValueError: If the target has no classes.
        """
        raise ValueError(f"this metric needs classes, which a target of {self.name} does not have")

    def training_metrics(self) -> "list[keras.metrics.Metric]":
        """Return new Keras metrics that are computed during training, on the labels and logits of each batch."""
        return []

    @abc.abstractmethod
    def prediction_problems(self, values: np.ndarray, ids: Sequence[str]) -> list[str]:
        """Return a text for each rule that predictions (rows, prediction columns) break. Return an empty list if all
        are valid.
        """

    @abc.abstractmethod
    def strata(self, labels: np.ndarray) -> np.ndarray:
        """Return the stratum of each row, such as its class. Stratified folds have equal shares of each stratum.

        The result is an int for each row (rows,). For multi-label data, it is bool (rows, labels).
        """

    @abc.abstractmethod
    def describe(self, labels: np.ndarray) -> str:
        """Return one line that describes the labels (rows, columns). kcomp prints it when a training starts."""

    def warnings(self) -> list[str]:
        """Return warnings about class names that look wrong, such as names that differ only in case."""
        return []

    def class_counts(self, labels: np.ndarray) -> np.ndarray:
        """Return how many rows each class has, float64 (classes,). A soft label counts as a fraction of a row."""
        return np.zeros(len(self.class_names))

    def row_weights(self, labels: Any, weights: Any) -> Any:
        """Return a factor for the loss of each row, a tensor (rows,).

        Args:
            labels: A tensor (rows, columns). Mixup or cutmix may have mixed the labels of two images.
            weights: A tensor (classes,) with the weight of each class.

        Raises:
            ValueError: If the target has no classes.
        """
        raise ValueError(f"class weights need classes, which a target of {self.name} does not have; leave them out")

    def average(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean of the predictions of several models. Each array has the shape (rows, prediction columns)."""
        return arrays.mean(predictions)

    def median(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the elementwise median of the predictions of several models."""
        return np.median(np.stack(predictions), 0)

    def vote(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the share of models that predict each class. Raise ValueError if the target has no classes."""
        raise self._refuses("vote")

    def gmean(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the geometric mean of several models' probabilities.

        Raise ValueError if predictions are not probabilities.
        """
        raise self._refuses("gmean")

    def rank(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean rank of each row over several models. Each model's predictions rank the rows.

        Raises:
            ValueError: If predictions are in units, such as grams, which ranks would lose.
        """
        raise self._refuses("rank")

    def normalized(self, predictions: np.ndarray) -> np.ndarray:
        """Return valid predictions after a calculation such as a maximum over models.

        For single-label data, the probabilities of each row are divided by their sum. Grades are clipped to their
        range. `predictions` are (rows, prediction columns).
        """
        return predictions

    def tempered(self, predictions: np.ndarray, temperature: float) -> np.ndarray:
        """Return calibrated probabilities. A temperature above 1 makes the classes more equal.

        Raises:
            ValueError: If predictions are not probabilities.
        """
        raise ValueError(f"a temperature calibrates probabilities, not {self.name}; leave out --calibrate")

    def smoothed(self, predictions: np.ndarray, share: float, above: float) -> np.ndarray:
        """Move confident probabilities towards equal probabilities: (1 - share) * p + share / K, with K classes.

        Args:
            predictions: Probabilities, (rows, columns).
            share: How far they move, from 0 to 1.
            above: A row changes if its largest probability is above this number. For multi-label data, each label
                counts as a row of two classes with the probabilities p and 1 - p.

        Raises:
            ValueError: If predictions are not probabilities.
        """
        raise ValueError(f"--smooth changes probabilities of classes, not {self.name}; leave it out")

    def confidence(self, predictions: np.ndarray) -> np.ndarray:
        """Return the probability of the predicted class, shape (rows, 1).

        For multi-label data, return max(p, 1 - p) of each label, shape (rows, labels).

        Raises:
            ValueError: If predictions are not probabilities.
        """
        raise ValueError(f"pseudo-labels are chosen by probabilities, which a target of {self.name} does not have")

    def hardened(self, predictions: np.ndarray) -> np.ndarray:
        """Return an array of 0 and 1 in the shape of `predictions` (rows, columns). It is 1 for the predicted
        classes.
        """
        return self.decide(predictions).astype(np.float64)

    def view_mean(self, predictions: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
        """Return the weighted mean of predictions over augmented views of each image, (rows, columns).

        `predictions` has the shape (views, rows, columns). `weights` has the weight of each view. None for equal
        weights.
        """
        return np.average(predictions, 0, weights)

    def to_json(self) -> dict[str, Any]:
        """Return the target as a dict for a JSON file. `target_from_json` restores the target."""
        fields = {name: arrays.as_lists(value) for name, value in dataclasses.asdict(self).items()}  # type: ignore[call-overload]
        return {"target": self.name, **fields}

    def _refuses(self, method: str) -> ValueError:
        return ValueError(f"{method} averages probabilities, not {self.name}; use one of {', '.join(self.methods)}")
