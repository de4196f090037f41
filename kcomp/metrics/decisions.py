"""Fit thresholds for multi-label data and cut points for grades, which convert predictions to classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.metrics.classification import FScore
from kcomp.metrics.coordinate_search import coordinate_search
from kcomp.metrics.metric import Decides, Metric, as_arrays

CANDIDATES = 64  # values that a coordinate search tries for each coordinate


@dataclass(frozen=True)
class Thresholds:
    """Thresholds for multi-label predictions. A label is predicted as present if its probability reaches its threshold.

    Args:
        values: The threshold of each label, in the order of the columns.

    Examples:
        >>> import numpy as np
        >>> from kcomp import metrics
        >>> from kcomp.metrics.decisions import Thresholds
        >>> labels = np.array([[0.0], [0.0], [1.0], [1.0]])
        >>> thresholds = Thresholds.fit(labels, np.array([[0.1], [0.2], [0.3], [0.4]]), metrics.macro_f1)
        >>> thresholds.values
        (0.25,)
        >>> thresholds.apply(np.array([[0.24], [0.26]])).tolist()
        [[0], [1]]
    """

    values: tuple[float, ...]

    @classmethod
    def fit(cls, labels: Any, predictions: Any, metric: Metric) -> "Thresholds":
        """Return the thresholds that give the best value of the metric. Equal inputs give equal thresholds.

        The search starts with the threshold of each label that gives the best F-score. For metrics other than the macro
        and weighted F-score, it then changes one threshold at a time.

        Args:
            labels: Shape (rows, labels). A label above 0.5 is present. NaN is a missing label.
            predictions: Shape (rows, labels).
            metric: A metric of predicted classes, such as `metrics.macro_f1`.

        Raises:
            ValueError: If the metric does not depend on predicted classes, or the shapes of the arrays differ.
        """
        labels, predictions = as_arrays(labels, predictions)
        check_metric(metric)
        true = np.where(np.isnan(labels), np.nan, labels > 0.5)
        score = metric.function if isinstance(metric.function, FScore) else FScore(1.0, "macro")
        start = [best_threshold(*known(true, predictions, label), score) for label in range(labels.shape[1])]
        if isinstance(metric.function, FScore) and metric.function.average in ("macro", "weighted"):
            return cls(tuple(start))
        candidates = [quantile_midpoints(predictions[:, label]) for label in range(labels.shape[1])]
        return cls(coordinate_search(start, candidates, scorer(cls, true, predictions, metric)))

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        """Return 1 where a label is predicted as present, else 0, shape (rows, labels)."""
        return (predictions >= np.asarray(self.values)).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "thresholds", "values": list(self.values)}


@dataclass(frozen=True)
class CutPoints:
    """Cut points that convert a predicted number to a grade.

    A prediction below all cut points is grade 0. Each cut point that the prediction reaches raises the grade by 1.

    Args:
        values: The cut points in ascending order, one fewer than there are grades.

    Examples:
        >>> import numpy as np
        >>> from kcomp import metrics
        >>> from kcomp.metrics.decisions import CutPoints
        >>> labels, predictions = np.array([[0.0], [0], [1], [2]]), np.array([[0.2], [0.4], [0.8], [1.2]])
        >>> cuts = CutPoints.fit(labels, predictions, metrics.quadratic_kappa)
        >>> cuts.apply(predictions).tolist()
        [0, 0, 1, 2]
    """

    values: tuple[float, ...]

    @classmethod
    def fit(cls, labels: Any, predictions: Any, metric: Metric, levels: int | None = None) -> "CutPoints":
        """Return the cut points that give the best value of the metric. Equal inputs give equal cut points.

        The search starts with cut points that predict each grade as often as it occurs in the labels. It then moves one
        cut point at a time.

        Args:
            labels: The grades, numbers from 0, shape (rows, 1).
            predictions: Shape (rows, 1).
            metric: A metric of predicted classes, such as `metrics.quadratic_kappa`.
            levels: How many grades there are. None for the highest label plus 1.

        Raises:
            ValueError: If the metric does not depend on predicted classes, the shapes of the arrays differ, or a label
                is not a grade.
        """
        labels, predictions = as_arrays(labels, predictions)
        check_metric(metric)
        if labels.shape[1] != 1 or np.isnan(labels).any() or labels.min() < 0:
            raise ValueError("cut points need labels of shape (rows, 1), numbers from 0, without missing ones")
        true, values = np.rint(labels[:, 0]), predictions[:, 0]
        levels = int(true.max()) + 1 if levels is None else levels
        lowest, highest = values.min() - 1e-6, values.max() + 1e-6
        ordered = np.concatenate([[lowest], np.sort(values), [highest]])
        below = [int((true < level).sum()) for level in range(1, levels)]
        start = [(ordered[count] + ordered[count + 1]) / 2 for count in below]
        candidates = [quantile_midpoints(values)] * len(start)
        score = scorer(cls, true, values[:, None], metric)
        return cls(coordinate_search(start, candidates, score, ascending=True))

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        """Return the grades, int (rows,), for predictions of shape (rows, 1)."""
        return np.searchsorted(np.asarray(self.values), np.asarray(predictions)[:, 0], side="right")

    def to_json(self) -> dict[str, Any]:
        return {"kind": "cut points", "values": list(self.values)}


def from_json(data: Mapping[str, Any]) -> Thresholds | CutPoints:
    """Return the thresholds or cut points that `to_json` stored as a dict."""
    kinds: dict[str, type[Thresholds] | type[CutPoints]] = {"thresholds": Thresholds, "cut points": CutPoints}
    if data.get("kind") not in kinds:
        raise ValueError(f"decisions must be of kind {' or '.join(kinds)}; received {data.get('kind')!r}")
    return kinds[data["kind"]](tuple(float(value) for value in data["values"]))


def fit_decisions(labels: Any, predictions: Any, metric: Metric, target: Decides) -> Thresholds | CutPoints | None:
    """Return fitted thresholds or cut points, depending on the target.

    Returns:
        Thresholds for a multi-label target, cut points for grades. None for other targets, and for a metric that does
            not depend on predicted classes.
    """
    labels, predictions = as_arrays(labels, predictions)
    if metric.on != "decisions":
        return None
    if target.decide(predictions[:1]).ndim == 2:
        return Thresholds.fit(labels, predictions, metric)
    return CutPoints.fit(labels, predictions, metric) if predictions.shape[1] == 1 else None


def nested_score(labels: Any, predictions: Any, folds: Any, metric: Metric, target: Decides) -> float:
    """Return the value of the metric for fitted thresholds or cut points, by nested cross-validation.

    Each fold is converted to classes with thresholds or cut points that are fitted on the other folds. The classes of
    all rows are then scored together.

    Args:
        labels: Shape (rows, columns).
        predictions: Out-of-fold predictions, shape (rows, columns).
        folds: The fold of each row, shape (rows,), at least two different ones.
        metric: The metric that is optimized and returned.
        target: The target of the labels.

    Raises:
        ValueError: If there are fewer than two folds, or the shapes of the arrays differ.
    """
    labels, predictions = as_arrays(labels, predictions)
    if fit_decisions(labels, predictions, metric, target) is None:
        check_folds(folds, len(labels))
        return metric(labels, predictions, target)
    true, _ = metric.inputs(labels, predictions, target)
    decided = nested_decisions(labels, predictions, folds, metric, target)
    return float(metric.function(true, decided.astype(np.float64)))


def nested_decisions(labels: Any, predictions: Any, folds: Any, metric: Metric, target: Decides) -> np.ndarray:
    """Return the predicted classes of all rows. Each fold uses thresholds or cut points that are fitted on the other
    folds.

    If the metric or the target uses neither, `target.decide` converts the predictions.

    Args:
        labels: Shape (rows, columns).
        predictions: Out-of-fold predictions, shape (rows, columns).
        folds: The fold of each row, shape (rows,), at least two different ones.
        metric: The metric that the thresholds or cut points optimize.
        target: The target of the labels.

    Returns:
        Class indices (rows,). For multi-label data, 0 or 1 (rows, columns).

    Raises:
        ValueError: If there are fewer than two folds, or the shapes of the arrays differ.
    """
    labels, predictions = as_arrays(labels, predictions)
    folds = check_folds(folds, len(labels))
    decided = target.decide(predictions)
    for fold in np.unique(folds):
        rows = folds == fold
        fitted = fit_decisions(labels[~rows], predictions[~rows], metric, target)
        if fitted is None:
            return decided
        decided[rows] = fitted.apply(predictions[rows])
    return decided


def check_folds(folds: Any, rows: int) -> np.ndarray:
    """Return the folds as an array. Raise ValueError unless each row has a fold, and there are at least two folds."""
    folds = np.asarray(folds)
    if folds.shape != (rows,) or len(np.unique(folds)) < 2:
        raise ValueError(f"nested scoring needs a fold for each of {rows} rows, and at least two folds")
    return folds


def check_metric(metric: Metric) -> None:
    if metric.on != "decisions":
        raise ValueError(f"thresholds and cut points do not change {metric.name}; choose a metric such as macro_f1")


def known(true: np.ndarray, predictions: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays (rows,): the labels and the predictions of column `label`, for the rows with a known label."""
    rows = ~np.isnan(true[:, label])
    return true[rows, label], predictions[rows, label]


def best_threshold(true: np.ndarray, predicted: np.ndarray, score: FScore) -> float:
    """Return the threshold that gives one label its highest F-score. Without a positive row, it is 0.5.

    `true` has the labels (0 or 1) and `predicted` the predictions of this label, both of shape (rows,).
    """
    if not true.any():
        return 0.5
    order = np.argsort(predicted, kind="stable")
    first = np.flatnonzero(np.diff(predicted[order], prepend=-np.inf) > 0)  # the first row of each distinct prediction
    hits = true[order][::-1].cumsum()[::-1][first]
    scores = score.of_counts(hits, true.sum(), len(true) - first)
    thresholds = quantile_midpoints(predicted, None)[: len(first)]
    best = thresholds[scores >= scores.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def quantile_midpoints(values: np.ndarray, count: int | None = CANDIDATES) -> np.ndarray:
    """Return thresholds to try: the midpoints of neighbouring distinct values, and one number beyond each end.

    If there are more than `count` thresholds, only those at evenly spaced quantiles of `values` are returned.
    """
    distinct = np.unique(values)
    points = np.concatenate([[distinct[0] - 1e-6], (distinct[1:] + distinct[:-1]) / 2, [distinct[-1] + 1e-6]])
    if count is None or len(points) <= count:
        return points
    positions = np.quantile(values, np.linspace(0, 1, count), method="inverted_cdf")
    return np.unique(points[np.searchsorted(distinct, positions)])


def scorer(
    kind: type[Thresholds] | type[CutPoints], true: np.ndarray, predictions: np.ndarray, metric: Metric
) -> Callable[[tuple[float, ...]], float]:
    """Return a function that takes thresholds or cut points and returns the metric.

    The metric is negated if lower values are better. NaN becomes -infinity.
    """
    sign = 1 if metric.higher_is_better else -1

    def score(values: tuple[float, ...]) -> float:
        value = sign * float(metric.function(true, kind(values).apply(predictions).astype(np.float64)))
        return -np.inf if np.isnan(value) else value

    return score
