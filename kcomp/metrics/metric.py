"""A metric: a name, a function of labels and predictions, and whether higher or lower values are better."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

INPUTS = ("predictions", "decisions", "columns", "probabilities")
Function = Callable[[np.ndarray, np.ndarray], Any]


class Decisions(Protocol):
    """Fitted thresholds or cut points; see `kcomp.metrics.decisions`."""

    def apply(self, predictions: np.ndarray) -> np.ndarray: ...


class Decides(Protocol):
    """The interface of a target for metrics: `decide` returns class indices, or a matrix of 0 and 1."""

    def decide(self, values: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Metric:
    """A metric: a function that scores predictions against labels.

    Args:
        name: The name in logs, files and options.
        function: Function of labels and predictions that returns a number, or NaN if the score is undefined. Missing
            labels are NaN.
        higher_is_better: Whether higher values are better.
        on: The two arrays that the function receives. "predictions": labels and predictions, (rows, columns).
            "decisions": the true and the predicted classes, as class indices (rows,), or as 0 and 1 (rows, columns).
            "columns": labels that are 0 or 1, and predictions, (rows, classes). "probabilities": distributions over the
            last axis, (rows, classes) for one class in each row, and (rows, classes, 2) for several labels.
        rows: Function of the same arrays that returns a value for each row. It is NaN for a row without a known label.
            The metric is the mean of these values. None for a metric that is not a mean over rows.

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
            target: The target of the labels. Only a metric on "predictions" works without it.
            decisions: Fitted thresholds or cut points. None for the target's own decisions.

        Raises:
            ValueError: If the shapes differ, there is no row, a prediction is NaN or infinite, or the metric does not
                apply to the target.
        """
        return float(self.function(*self.inputs(labels, predictions, target, decisions)))

    def row_values(self, labels: Any, predictions: Any, target: Decides | None = None) -> np.ndarray:
        """Return the value of each row, shape (rows,). Raise ValueError for a metric that is not a mean over rows."""
        if self.rows is None:
            raise ValueError(f"{self.name} is not a mean over rows, so a row has no value")
        return np.asarray(self.rows(*self.inputs(labels, predictions, target)), np.float64)

    def is_better(self, new: float, old: float | None) -> bool:
        """Return whether `new` is better than `old`. A number is better than None and NaN. NaN is never better."""
        if np.isnan(new):
            return False
        if old is None or np.isnan(old):
            return True
        return new > old if self.higher_is_better else new < old

    def inputs(
        self, labels: Any, predictions: Any, target: Decides | None = None, decisions: Decisions | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the two arrays that the function receives."""
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
    """Return the metric that is the mean of `rows`."""
    return Metric(name, partial(mean_of_rows, rows), higher_is_better, on, rows)


def mean_of_rows(rows: Function, labels: np.ndarray, predictions: np.ndarray) -> float:
    return mean_of_known(rows(labels, predictions))


def mean_of_known(values: Any) -> float:
    """Return the mean of the values that are not NaN. Return NaN if all are NaN."""
    values = np.asarray(values, np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def column_mean(function: Function, labels: np.ndarray, predictions: np.ndarray) -> float:
    """Score each column on its rows with a known label, and return the mean of the scores.

    Columns without a known label, or with the score NaN, are skipped. Return NaN if no column remains.
    """
    values = []
    for true, predicted in zip(labels.T, predictions.T, strict=True):
        known = ~np.isnan(true)
        values.append(function(true[known], predicted[known]) if known.any() else np.nan)
    return mean_of_known(values)


def as_arrays(labels: Any, predictions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both arrays as float64. Raise ValueError unless both have one shape (rows, columns), with a row."""
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
