"""Metrics of predicted classes (accuracy, F-scores, kappa), and the log loss.

The arguments `true` (labels) and `decided` (predicted classes) are class indices (rows,). For multi-label data, they
are 0 and 1, (rows, columns). NaN is a missing label.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from kcomp.metrics.metric import Function, Metric, column_mean, from_rows, mean_of_known

AVERAGES = ("macro", "micro", "weighted", "samples")


def correct_rows(true: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Return 1.0 for each row with the right class, else 0.0, shape (rows,). A row without a known label is NaN.

    For multi-label data, all known labels of the row must be predicted correctly.
    """
    if true.ndim == 1:
        return (true == decided).astype(np.float64)
    missing = np.isnan(true)
    right = ((true == decided) | missing).all(1)
    return np.where(missing.all(1), np.nan, right)


def row_entropies(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the cross-entropy (log loss) of each row, averaged over its known labels, shape (rows,)."""
    clipped = np.clip(probabilities, np.finfo(np.float64).eps, 1.0)
    entropies = -(labels * np.log(clipped / clipped.sum(-1, keepdims=True))).sum(-1)
    if entropies.ndim == 1:
        return entropies
    known = (~np.isnan(entropies)).sum(1)
    return np.where(known > 0, np.nansum(entropies, 1) / np.maximum(known, 1), np.nan)


def recall_mean(true: np.ndarray, decided: np.ndarray) -> float:
    return float(np.mean([(decided[true == label] == label).mean() for label in np.unique(true)]))


def confusion_matrix(true: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Return the confusion matrix: counts of rows, with true classes as rows and predicted classes as columns."""
    lowest = int(min(true.min(), decided.min()))
    first, second = true.astype(int) - lowest, decided.astype(int) - lowest
    count = int(max(first.max(), second.max())) + 1
    return np.bincount(first * count + second, minlength=count * count).reshape(count, count)


def matthews_correlation(true: np.ndarray, decided: np.ndarray) -> float:
    """Return the Matthews correlation. It is 0 if all labels, or all predictions, are the same class."""
    confusion = confusion_matrix(true, decided).astype(np.float64)
    labels, decisions, total = confusion.sum(1), confusion.sum(0), confusion.sum()
    spread = (total**2 - labels @ labels) * (total**2 - decisions @ decisions)
    return float((np.trace(confusion) * total - labels @ decisions) / np.sqrt(spread)) if spread else 0.0


def weighted_kappa(true: np.ndarray, decided: np.ndarray) -> float:
    """Return Cohen's kappa with quadratic weights. It is NaN if all labels and predictions are the same class."""
    confusion = confusion_matrix(true, decided)
    weights = np.square(np.arange(len(confusion))[:, None] - np.arange(len(confusion)))
    by_chance = (weights * np.outer(confusion.sum(1), confusion.sum(0))).sum() / confusion.sum()
    return 1 - float((weights * confusion).sum() / by_chance) if by_chance else float("nan")


def by_column(function: Function, true: np.ndarray, decided: np.ndarray) -> float:
    """Return the score that `function` computes. For multi-label data, return its mean over the columns.

    `function` takes the class indices of labels and predictions, both (rows,). Columns in which all labels are equal
    are skipped.
    """
    if true.ndim == 1:
        return float(function(true, decided))
    return column_mean(partial(with_both, function), true, decided)


def with_both(function: Function, true: np.ndarray, predicted: np.ndarray) -> float:
    """Return function(true, predicted) for one column of multi-label data. NaN unless the column has labels 0 and 1."""
    return float(function(true, predicted)) if 0 < true.sum() < len(true) else float("nan")


@dataclass(frozen=True)
class FScore:
    """The F-beta score as a function of true and predicted classes. `f_beta` explains `beta` and `average`."""

    beta: float
    average: str

    def __call__(self, true: np.ndarray, decided: np.ndarray) -> float:
        if true.ndim == 1:
            classes = np.unique([true, decided])
            true, decided = true[:, None] == classes, decided[:, None] == classes
        positive, chosen = true == 1, (decided == 1) & ~np.isnan(true)
        axis = 1 if self.average == "samples" else 0
        hits, labels, decisions = ((positive & chosen).sum(axis), positive.sum(axis), chosen.sum(axis))
        if self.average == "micro":
            hits, labels, decisions = hits.sum(), labels.sum(), decisions.sum()
        values = self.of_counts(hits, labels, decisions)
        if self.average != "weighted":
            return mean_of_known(values)
        return float(np.average(np.nan_to_num(values), weights=labels)) if labels.any() else float("nan")

    def of_counts(self, hits: np.ndarray, labels: np.ndarray, decisions: np.ndarray) -> np.ndarray:
        """Return F-beta from three counts. 0 / 0 is NaN.

        Args:
            hits: How many true positives there are.
            labels: How many labels are positive.
            decisions: How many predictions are positive.
        """
        square = self.beta**2
        total = np.asarray(square * labels + decisions, np.float64)
        return np.where(total > 0, (1 + square) * hits / np.maximum(total, 1e-300), np.nan)


def f_beta(beta: float, average: str = "macro") -> Metric:
    """Return the F-beta metric, (1 + beta^2) * precision * recall / (beta^2 * precision + recall).

    A class without positive labels and positive predictions is skipped. With average="samples", such a row is skipped.

    Args:
        beta: Weight of recall relative to precision, above 0. 1 for F1.
        average: "macro" is the mean over classes. "micro" first adds up the counts of all classes. "weighted" is the
            mean over classes, weighted by how many positive labels each has. "samples" is the mean over rows.

    Raises:
        ValueError: If `beta` is not above 0, or `average` is unknown.

    Examples:
        >>> from kcomp import metrics
        >>> metrics.f_beta(2, average="micro").name
        'micro_f2'
    """
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta must be above 0; received {beta}")
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(AVERAGES)}; received {average!r}")
    return Metric(f"{average}_f{beta:g}", FScore(float(beta), average), True, "decisions")


accuracy = from_rows("accuracy", correct_rows, higher_is_better=True, on="decisions")
"""Share of rows with the right class. For multi-label data, share of rows whose known labels are all right."""

balanced_accuracy = Metric("balanced_accuracy", partial(by_column, recall_mean), True, "decisions")
"""Mean recall over the classes that occur in the labels. For multi-label data, the mean over columns."""

log_loss = from_rows("log_loss", row_entropies, higher_is_better=False, on="probabilities")
"""Mean cross-entropy in nats. Labels may be soft.

For multi-label data, each row is first averaged over its known labels."""

macro_f1 = f_beta(1)
micro_f1 = f_beta(1, average="micro")
weighted_f1 = f_beta(1, average="weighted")
samples_f1 = f_beta(1, average="samples")

quadratic_kappa = Metric("quadratic_kappa", partial(by_column, weighted_kappa), True, "decisions")
"""Cohen's kappa with quadratic weights (Cohen 1968). For multi-label data, the mean over columns."""

matthews = Metric("matthews", partial(by_column, matthews_correlation), True, "decisions")
"""Matthews correlation coefficient (Matthews 1975; several classes: Gorodkin 2004).

For multi-label data, the mean over columns."""
