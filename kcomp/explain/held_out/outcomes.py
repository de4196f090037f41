"""The outcome of each held-out row: its predicted class, whether it is right, its loss and its confidence."""

from dataclasses import dataclass

import numpy as np

from kcomp.ensembles.decisions import ScoredDecisions, score_decisions
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.metrics import log_loss
from kcomp.metrics.classification import correct_rows
from kcomp.metrics.decisions import nested_decisions
from kcomp.metrics.metric import Metric
from kcomp.targets import Target

NO_LABEL = "none"  # the text of a row of several labels, of which none is present


@dataclass(frozen=True)
class Outcomes:
    """What the mean prediction of all members says about each held-out row, and how wrong it is.

    A member is all runs that differ only in their fold.

    Attributes:
        fitted: Thresholds or cut points that were fitted to all held-out rows, and the scores with them. None if the
            metric or the target uses neither.
        true: True classes: class indices (rows,), or 0, 1 and NaN (rows, labels) for several labels. None for numbers.
        decided: Predicted classes in the same form as `true`. Thresholds and cut points are fitted without the row's
            fold. None for numbers.
        correct: 1 for a right row, 0 for a wrong one, (rows,). For several labels, all known labels must be right. NaN
            for numbers and for rows without a known label.
        loss: The loss of each row, (rows,). For probabilities, the cross-entropy in nats. For numbers and grades, the
            mean absolute error in `Target.unit`. NaN without a known label.
        severity: The largest difference between label and prediction over the known columns, in `Target.unit`, (rows,).
        confidence: The probability of the predicted class, (rows,). For several labels, the confidence of the least
            certain label. NaN for numbers and grades.
        labels: The labels of each row as text, (rows,).
        predictions: The prediction of each row as text, (rows,).
    """

    fitted: ScoredDecisions | None
    true: np.ndarray | None
    decided: np.ndarray | None
    correct: np.ndarray
    loss: np.ndarray
    severity: np.ndarray
    confidence: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray

    @property
    def harm(self) -> np.ndarray:
        """How bad the prediction of each row is, (rows,). For one class, it is 1 for a wrong row and 0 for a right row.

        For other targets, it is the loss, because a row may be nearly right.
        """
        return 1 - self.correct if self.is_one_class else self.loss

    @property
    def is_one_class(self) -> bool:
        """Whether each row has exactly one class."""
        return self.decided is not None and self.decided.ndim == 1 and not np.isnan(self.confidence).all()


def compute_outcomes(rows: HeldOutRows) -> Outcomes:
    target, labels, predictions = rows.target, rows.labels, rows.predictions
    columns = column_errors(labels, predictions, target)
    known = ~np.isnan(columns).all(1)
    severity = np.full(len(rows), np.nan)
    severity[known] = np.nanmax(columns[known], 1)
    true, decided, correct, fitted = None, None, np.full(len(rows), np.nan), None
    if target.class_names:
        true = true_classes(labels, target)
        fitted = score_decisions(rows.scorer, labels, predictions, rows.parts)
        decided = decide_rows(rows, fitted)
        correct = correct_rows(true, decided.astype(np.float64))
    return Outcomes(
        fitted=fitted,
        true=true,
        decided=decided,
        correct=correct,
        loss=row_losses(labels, predictions, target),
        severity=severity,
        confidence=row_confidence(predictions, target),
        labels=as_texts(labels if true is None else true, target),
        predictions=as_texts(predictions if decided is None else decided, target),
    )


def decide_rows(rows: HeldOutRows, fitted: ScoredDecisions | None) -> np.ndarray:
    """Return the predicted classes, (rows,), or 0 and 1 for each of several labels, (rows, labels).

    Thresholds and cut points for a row are fitted to other rows (nested cross-validation).
    """
    if fitted is None:
        return rows.target.decide(rows.predictions)
    return nested_decisions(rows.labels, rows.predictions, rows.parts, rows.scorer.metric, rows.target)


def decide_member(values: np.ndarray, rows: HeldOutRows, outcomes: Outcomes) -> np.ndarray:
    """Return the classes that one member predicts, with thresholds or cut points that were fitted to all held-out rows.

    `values` has the member's predictions, (rows, prediction columns). For regression, they are returned unchanged.
    """
    if outcomes.decided is None:
        return values
    if outcomes.fitted is None:
        return rows.target.decide(values)
    return outcomes.fitted.decisions.apply(values)


def metric_arrays(rows: HeldOutRows, outcomes: Outcomes, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Return the two arrays that a metric takes, for the mean predictions of all members; see `Metric.inputs`.

    A metric that compares classes gets the predicted classes of `outcomes`, which depend on fitted thresholds or cut
    points.
    """
    true, scored = metric.inputs(rows.labels, rows.predictions, rows.target)
    if metric.on == "decisions" and outcomes.decided is not None:
        scored = outcomes.decided.astype(np.float64)
    return true, scored


def wrong_cells(outcomes: Outcomes) -> np.ndarray:
    """Return whether each label of each row is known and wrongly predicted, bool (rows, labels)."""
    assert outcomes.true is not None and outcomes.decided is not None
    wrong: np.ndarray = ~np.isnan(outcomes.true) & (outcomes.true != outcomes.decided)
    return wrong


def true_classes(labels: np.ndarray, target: Target) -> np.ndarray:
    """Return true class indices, float64 (rows,). For several labels, return 0, 1 and NaN, float64 (rows, labels)."""
    true = target.decide(labels).astype(np.float64)
    if true.ndim == 2:
        true[np.isnan(labels)] = np.nan
    return true


def column_errors(labels: np.ndarray, predictions: np.ndarray, target: Target) -> np.ndarray:
    """Return the absolute differences between labels and predictions, in `Target.unit`, (rows, columns)."""
    errors: np.ndarray = np.abs(labels - predictions) / target.unit
    return errors


def row_losses(labels: np.ndarray, predictions: np.ndarray, target: Target) -> np.ndarray:
    if log_loss.on in target.metric_inputs:
        return log_loss.row_values(labels, predictions, target)
    errors = column_errors(labels, predictions, target)
    known = ~np.isnan(errors)
    return np.where(known.any(1), np.where(known, errors, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def row_confidence(predictions: np.ndarray, target: Target) -> np.ndarray:
    """Return the confidence of each row, (rows,). For several labels, this is the least confidence of a label.

    It is NaN for a target without probabilities.
    """
    if log_loss.on not in target.metric_inputs:
        return np.full(len(predictions), np.nan)
    return target.confidence(predictions).min(1)


def as_texts(values: np.ndarray, target: Target) -> np.ndarray:
    """Return the labels or predictions of each row as text, an array of objects (rows,).

    `values` has class indices (rows,), 0, 1 and NaN (rows, labels), or numbers (rows, columns). Semicolons separate
    several labels or numbers.
    """
    names = np.array(target.class_names, dtype=object)
    if len(names) and values.ndim == 1:
        return names[values.astype(int)]
    if len(names):
        lists = [";".join(names[row == 1]) for row in values]
        return np.array([text or NO_LABEL for text in lists], dtype=object)
    numbers = [["?" if np.isnan(value) else f"{value:.4g}" for value in row] for row in values]
    return np.array([";".join(row) for row in numbers], dtype=object)
