"""Scores fast enough to search with: what a score needs of each member, so that mixing members is a weighted sum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.metrics import scores

SMALLEST = np.finfo(np.float64).eps  # the clipping of kcomp.metrics.scores


def score(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Computes a score of kcomp.metrics.scores from arrays (rows, classes); AUC is slow for many classes."""
    truth = labels.argmax(1)
    if metric == "accuracy":
        return float((truth == probabilities.argmax(1)).mean())
    if metric == "macro_f1":
        return macro_f1(truth, probabilities.argmax(1), labels.shape[1])
    if metric == "roc_auc":
        return column_auc(truth, np.ascontiguousarray(probabilities.T))
    return scores.cross_entropy(labels, probabilities)


def macro_f1(truth: np.ndarray, guess: np.ndarray, classes: int) -> float:
    """Mean F1 of the classes that occur in either; both arguments are class numbers (rows,)."""
    right = np.bincount(truth[truth == guess], minlength=classes)
    named = np.bincount(truth, minlength=classes) + np.bincount(guess, minlength=classes)
    occurring = named > 0
    return float((2 * right[occurring] / named[occurring]).mean())


def column_auc(truth: np.ndarray, columns: np.ndarray) -> float:
    """Mean ROC AUC of each class against the rest, by Mann and Whitney's ranks; NaN where no class has both kinds.

    `truth` holds class numbers (rows,), `columns` the probabilities (classes, rows).
    """
    found = []
    for number, (column, ordered) in enumerate(zip(columns, np.sort(columns, axis=1), strict=True)):
        positive = column[truth == number]
        negatives = len(column) - len(positive)
        if not len(positive) or not negatives:
            continue
        ranks = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right") + 1
        found.append((ranks.sum() / 2 - len(positive) * (len(positive) + 1) / 2) / (len(positive) * negatives))
    return float(np.mean(found)) if found else float("nan")


@dataclass(frozen=True)
class Objective:
    """What `metric` needs of each member, and the loss of a mixture of them; lower is better.

    `features` has shape (members, numbers); `loss` takes a weighted mean of its rows and returns the metric (accuracy,
    F1 and AUC times -1) and, to break ties, the log loss.
    """

    features: np.ndarray
    loss: Callable[[np.ndarray], tuple[float, float]]


def objective(metric: str, values: Sequence[np.ndarray], labels: np.ndarray) -> Objective:
    """The objective of mixing members; each of `values`, and `labels`, has shape (rows, classes)."""
    entries, shares = labelled_entries(values, labels)

    def cross_entropy(mixed: np.ndarray) -> float:
        return float(-shares @ np.log(np.maximum(mixed[: len(shares)], SMALLEST)))

    if metric == "log_loss":
        return Objective(entries, lambda mixed: (cross_entropy(mixed), 0.0))
    own = by_rank(values, labels) if metric == "roc_auc" else by_top_class(metric, values, labels)
    features = np.concatenate([entries, own.features], axis=1)
    return Objective(features, lambda mixed: (own.loss(mixed[len(shares) :])[0], cross_entropy(mixed)))


def labelled_entries(values: Sequence[np.ndarray], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of classes that a row's label names, (members, entries), and their shares of the log loss."""
    rows, classes = np.nonzero(labels)
    return np.stack([member[rows, classes] for member in values]), labels[rows, classes] / len(labels)


def by_top_class(metric: str, values: Sequence[np.ndarray], labels: np.ndarray) -> Objective:
    """Accuracy and macro F1: where all members name one class, so does any mixture; only the other rows are mixed."""
    tops = np.stack([member.argmax(1) for member in values])
    disputed = np.flatnonzero((tops != tops[0]).any(0))
    truth, agreed, classes = labels.argmax(1), tops[0], labels.shape[1]

    def loss(mixed: np.ndarray) -> tuple[float, float]:
        guess = agreed.copy()
        guess[disputed] = mixed.reshape(-1, classes).argmax(1)
        if metric == "accuracy":
            return -float((guess == truth).mean()), 0.0
        return -macro_f1(truth, guess, classes), 0.0

    return Objective(np.stack([member[disputed].ravel() for member in values]), loss)


def by_rank(values: Sequence[np.ndarray], labels: np.ndarray) -> Objective:
    truth, classes = labels.argmax(1), labels.shape[1]
    columns = np.stack([member.T.ravel() for member in values])

    def loss(mixed: np.ndarray) -> tuple[float, float]:
        return -column_auc(truth, mixed.reshape(classes, -1)), 0.0

    return Objective(columns, loss)


def improves(new: tuple[float, float], old: tuple[float, float]) -> bool:
    """Whether a loss is lower by more than rounding: its first number or, where that is equal or NaN, its second."""
    if abs(new[0] - old[0]) > 1e-12:
        return new[0] < old[0]
    return new[1] < old[1] - 1e-12
