"""A metric: a name, a function of labels and predictions, and whether higher or lower values are better."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

INPUTS = ("predictions", "decisions", "columns", "probabilities")
Function = Callable[[np.ndarray, np.ndarray], Any]


class Decisions(Protocol):
    """Fitted thresholds or cut points. `apply` converts predictions to classes."""

    def apply(self, predictions: np.ndarray) -> np.ndarray: ...


class Decides(Protocol):
    """A target, as far as metrics use it: its method `decide` converts predictions to classes.

    `decide` returns class indices (rows,), or 0 and 1 (rows, columns) for multi-label data.
    """

    def decide(self, values: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Metric:
    """A metric: a function that scores predictions against labels.

    Args:
        name: The name in logs, files and options.
        function: Function of two arrays, labels and predictions. It returns a number, or NaN if the score is undefined.
            Missing labels are NaN.
        higher_is_better: Whether higher values are better.
        on: What the two arrays of `function` are. "predictions": labels and predictions, (rows, columns). "decisions":
            true and predicted classes, as class indices (rows,). For multi-label data, 0 and 1 (rows, columns).
            "columns": labels that are 0 or 1, and predictions, (rows, classes). "probabilities": true and predicted
            distributions over the last axis, (rows, classes). For multi-label data, (rows, classes, 2).
        rows: For a metric that is a mean over rows, a function of the same arrays that returns the value of each row
            (rows,). A row without a known label is NaN. None for other metrics.

    Raises:
        ValueError: If `on` is unknown.

    Examples:
        >>> import numpy as np
        >>> from kcomp import metrics
        >>> labels, predictions = np.array([[1.0], [3.0]]), np.array([[1.5], [2.0]])
        >>> metrics.mae(labels, predictions)
        0.75
        >>> metrics.mae.is_better(0.7, 0.75)
        True
        >>> def worst_error(labels, predictions):
        ...     return np.abs(labels - predictions).max()
        >>> metrics.Metric("worst_error", worst_error, higher_is_better=False)(labels, predictions)
        1.0
    """

    name: str
    function: Function
    higher_is_better: bool
    on: str = "predictions"
    rows: Function | None = None

    def __post_init__(self) -> None:
        if self.on not in INPUTS:
            raise ValueError(f"metric {self.name}: `on` must be one of {', '.join(INPUTS)}; received {self.on!r}")

    def __call__(
        self, labels: Any, predictions: Any, target: Decides | None = None, decisions: Decisions | None = None
    ) -> float:
        """Return the score.

        Args:
            labels: Shape (rows, columns). NaN is a missing label.
            predictions: Shape (rows, columns), finite.
            target: The target of the labels. It may be None if `on` is "predictions".
            decisions: Fitted thresholds or cut points. None converts predictions to classes with `target.decide`.

        Raises:
            ValueError: If the shapes differ, there is no row, a prediction is NaN or infinite, or the metric does not
                apply to the target.
        """
        return float(self.function(*self.inputs(labels, predictions, target, decisions)))

    def row_values(self, labels: Any, predictions: Any, target: Decides | None = None) -> np.ndarray:
        """Return the metric's value for each row, shape (rows,).

        Raise ValueError if the metric is not a mean over rows.
        """
        if self.rows is None:
            raise ValueError(f"{self.name} is not a mean over rows, so a row has no value")
        return np.asarray(self.rows(*self.inputs(labels, predictions, target)), np.float64)

    def is_better(self, new: float, old: float | None) -> bool:
        """Return whether the score `new` is better than `old`. Any number is better than None or NaN."""
        if np.isnan(new):
            return False
        if old is None or np.isnan(old):
            return True
        return new > old if self.higher_is_better else new < old

    def inputs(
        self, labels: Any, predictions: Any, target: Decides | None = None, decisions: Decisions | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the two arrays that `function` takes, in the form that `on` describes."""
        labels, predictions = as_arrays(labels, predictions)
        if self.on == "predictions":
            return labels, predictions
        if target is None:
            raise ValueError(f"{self.name} needs the target: metric(labels, predictions, target)")
        true = target.decide(labels).astype(np.float64)
        if true.ndim == 2:
            true[np.isnan(labels)] = np.nan
        if self.on == "decisions":
            decided = target.decide(predictions) if decisions is None else decisions.apply(predictions)
            return true, decided.astype(np.float64)
        if predictions.shape[1] == 1 and true.ndim == 1:
            raise ValueError(f"{self.name} needs a prediction for each class; the predictions have one column")
        if self.on == "columns":
            return (true if true.ndim == 2 else np.eye(predictions.shape[1])[true.astype(int)]), predictions
        if true.ndim == 2:
            return np.stack([1 - labels, labels], -1), np.stack([1 - predictions, predictions], -1)
        return labels, predictions


def from_rows(name: str, rows: Function, *, higher_is_better: bool, on: str) -> Metric:
    """Return a metric that is the mean of the values of all rows. `rows` is a function that returns the value of each
    row.
    """
    return Metric(name, partial(mean_of_rows, rows), higher_is_better, on, rows)


def mean_of_rows(rows: Function, labels: np.ndarray, predictions: np.ndarray) -> float:
    return mean_of_known(rows(labels, predictions))


def mean_of_known(values: Any) -> float:
    values = np.asarray(values, np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def column_mean(function: Function, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Return the mean over columns of function(labels, predictions).

    In each column, rows with a missing label are left out. Columns for which the function returns NaN are left out,
    too.
    """
    values = []
    for true, predicted in zip(labels.T, predictions.T, strict=True):
        known = ~np.isnan(true)
        values.append(function(true[known], predicted[known]) if known.any() else np.nan)
    return mean_of_known(values)


def as_arrays(labels: Any, predictions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and predictions as two float64 arrays of one shape (rows, columns).

    Raises:
        ValueError: If the shapes differ, there is no row, a prediction is NaN, or a number is infinite.
    """
    labels, predictions = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if labels.shape != predictions.shape or labels.ndim != 2 or not labels.size:
        raise ValueError(
            "labels and predictions must share one shape (rows, columns) with at least one row; "
            f"received {labels.shape} and {predictions.shape}"
        )
    if not np.isfinite(predictions).all():
        raise ValueError("predictions must be finite; received NaN or infinity")
    if np.isinf(labels).any():
        raise ValueError("labels must be finite, or NaN where a label is missing; received infinity")
    return labels, predictions
