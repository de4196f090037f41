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
    """The task of a competition: its labels, its predictions, and how logits become predictions.

    Subclasses are frozen dataclasses. Two targets of one class are equal if their fields are equal.

    Attributes:
        name: Name of the kind of target, in files and messages.
        default_metric: Name of the metric that is used if the recipe sets none.
        shown_metrics: Names of the metrics that are printed and logged besides the recipe's own.
        metric_inputs: The inputs of metrics that suit the target; see `on` of `kcomp.metrics.Metric`.
        methods: Names of the methods of `kcomp ensemble` that make sense for this target.
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
    stacker: ClassVar[str]

    @property
    @abc.abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The label columns, in order."""

    @property
    def prediction_columns(self) -> tuple[str, ...]:
        """The columns of a prediction, in order."""
        return self.columns

    @property
    def outputs(self) -> int:
        """The number of logits that a network returns for an image."""
        return len(self.columns)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, which class weights use. Empty if the target has no classes."""
        return ()

    @property
    def unit(self) -> np.ndarray:
        """A large difference between two predictions, for each column, shape (prediction columns,).

        It is 1 for probabilities and grades, and the standard deviation of the labels for numbers.
        """
        return np.ones(len(self.prediction_columns))

    def has_labels_of(self, other: "Target") -> bool:
        """Return whether the labels and predictions of both targets have the same meaning, in any column order."""
        return type(other) is type(self) and set(other.columns) == set(self.columns)

    def head_order(self, other: "Target") -> list[int] | None:
        """Return the position of each output in the head of a network that was made for `other`.

        Return None if the outputs differ.
        """
        if type(other) is not type(self) or set(other.columns) != set(self.columns):
            return None
        return [other.columns.index(name) for name in self.columns]

    @abc.abstractmethod
    def check_labels(self, labels: np.ndarray, ids: Sequence[str]) -> None:
        """Raise ValueError unless labels, float64 (rows, columns), are valid. The error names the first invalid row."""

    def fitted(self, labels: np.ndarray) -> Self:
        """Return this target with statistics of the training labels (rows, columns), such as mean and scale."""
        return self

    @abc.abstractmethod
    def predict(self, logits: np.ndarray) -> np.ndarray:
        """Return the predictions, float64 (rows, prediction columns), of logits (rows, outputs)."""

    @abc.abstractmethod
    def predict_tensor(self, logits: Any) -> Any:
        """Return what `predict` returns as a tensor of Keras's backend, for an exported network."""

    @abc.abstractmethod
    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        """Return the default loss, a Keras loss of labels (rows, columns) and logits (rows, outputs).

        Args:
            label_smoothing: Share of each label that is divided equally among all classes, from 0 to below 1.

        Raises:
            ValueError: If the target has no label smoothing and `label_smoothing` is not 0.
        """

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Return the classes that labels or predictions (rows, columns) stand for.

        The result has the positions of the classes (rows,). For several labels, it has 0 and 1 (rows, columns).

        Raises:
            ValueError: If the target has no classes.
        """
        raise ValueError(f"this metric needs classes, which a target of {self.name} does not have")

    def training_metrics(self) -> "list[keras.metrics.Metric]":
        """Return new Keras metrics for training batches. They receive labels and logits.

        The log of a run shows the metric named `train_accuracy`.
        """
        return []

    @abc.abstractmethod
    def prediction_problems(self, values: np.ndarray, ids: Sequence[str]) -> list[str]:
        """Return a list of what is wrong with predictions (rows, prediction columns): a line for each broken rule."""

    @abc.abstractmethod
    def strata(self, labels: np.ndarray) -> np.ndarray:
        """Return the strata for stratified folds, such as classes: numbers (rows,), or bool (rows, columns)."""

    @abc.abstractmethod
    def describe(self, labels: np.ndarray) -> str:
        """Return one line about the labels (rows, columns), which is printed when a training starts."""

    def warnings(self) -> list[str]:
        """Return warnings about class names that look wrong, such as names that differ only in case."""
        return []

    def class_counts(self, labels: np.ndarray) -> np.ndarray:
        """Return the number of rows of each class, float64 (classes,). A soft label counts as a fraction."""
        return np.zeros(len(self.class_names))

    def row_weights(self, labels: Any, weights: Any) -> Any:
        """Return the factor of each row's loss, a tensor (rows,).

        Args:
            labels: A tensor (rows, columns), after mixing.
            weights: A tensor (classes,) with the weight of each class.

        Raises:
            ValueError: If the target has no classes.
        """
        raise ValueError(f"class weights need classes, which a target of {self.name} does not have; leave them out")

    def average(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean of several predictions, each (rows, prediction columns)."""
        return arrays.mean(predictions)

    def median(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the median of several predictions."""
        return np.median(np.stack(predictions), 0)

    def vote(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the share of predictions that vote for each class. Raise ValueError if the target has no classes."""
        raise self._refuses("vote")

    def gmean(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the geometric mean. Raise ValueError if predictions are not probabilities."""
        raise self._refuses("gmean")

    def rank(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean of ranks. Raise ValueError if predictions have units, which ranks lose."""
        raise self._refuses("rank")

    def normalized(self, predictions: np.ndarray) -> np.ndarray:
        """Correct the result of a calculation, such as a maximum of predictions, so that it is a valid prediction.

        Probabilities of one class are divided by their sum, for example. The shape is (rows, prediction columns).
        """
        return predictions

    def tempered(self, predictions: np.ndarray, temperature: float) -> np.ndarray:
        """Return probabilities at a temperature: nearer to equal if it is above 1, nearer to 0 and 1 if it is below 1.

        Raises:
            ValueError: If predictions are not probabilities.
        """
        raise ValueError(f"a temperature calibrates probabilities, not {self.name}; leave out --calibrate")

    def confidence(self, predictions: np.ndarray) -> np.ndarray:
        """Return the probability that each decided class is right, shape (rows, 1), or (rows, labels).

        Raises:
            ValueError: If predictions are not probabilities.
        """
        raise ValueError(f"pseudo-labels are chosen by probabilities, which a target of {self.name} does not have")

    def hardened(self, predictions: np.ndarray) -> np.ndarray:
        """Return hard labels, 0 or 1, for probabilities. Both have the shape (rows, columns)."""
        return self.decide(predictions).astype(np.float64)

    def view_mean(self, predictions: np.ndarray) -> np.ndarray:
        """Return the mean over views: (views, rows, columns) to (rows, columns)."""
        return predictions.mean(0)

    def to_json(self) -> dict[str, Any]:
        """Return the target as a dict for a JSON file. `target_from_json` reads it."""
        fields = {name: arrays.as_lists(value) for name, value in dataclasses.asdict(self).items()}  # type: ignore[call-overload]
        return {"target": self.name, **fields}

    def _refuses(self, method: str) -> ValueError:
        return ValueError(f"{method} averages probabilities, not {self.name}; use one of {', '.join(self.methods)}")
