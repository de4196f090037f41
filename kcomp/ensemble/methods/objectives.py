"""Scores that are fast enough for a search over weights of members."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.metrics import scores

SMALLEST = np.finfo(np.float64).eps  # the clipping of kcomp.metrics.scores


def score(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return a score of kcomp.metrics.scores, without its checks, from arrays (rows, classes)."""
    truth = labels.argmax(1)
    if metric == "accuracy":
        return float((truth == probabilities.argmax(1)).mean())
    if metric == "macro_f1":
        return macro_f1(truth, probabilities.argmax(1), labels.shape[1])
    if metric == "roc_auc":
        return column_auc(truth, np.ascontiguousarray(probabilities.T))
    return scores.cross_entropy(labels, probabilities)


def macro_f1(truth: np.ndarray, guess: np.ndarray, classes: int) -> float:
    """Return the mean F1 of the classes that occur in either argument; both are class numbers (rows,)."""
    right = np.bincount(truth[truth == guess], minlength=classes)
    named = np.bincount(truth, minlength=classes) + np.bincount(guess, minlength=classes)
    occurring = named > 0
    return float((2 * right[occurring] / named[occurring]).mean())


def column_auc(truth: np.ndarray, columns: np.ndarray) -> float:
    """Return the mean ROC AUC of each class against the rest, by Mann and Whitney's ranks; NaN when none is defined.

    `truth` holds class numbers (rows,), `columns` the probabilities (classes, rows).
    """
    values = []
    for number, (column, ordered) in enumerate(zip(columns, np.sort(columns, axis=1), strict=True)):
        positive = column[truth == number]
        negatives = len(column) - len(positive)
        if not len(positive) or not negatives:
            continue
        ranks = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right") + 1
        values.append((ranks.sum() / 2 - len(positive) * (len(positive) + 1) / 2) / (len(positive) * negatives))
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True)
class Objective:
    """The loss of a weighted mean of members; lower is better.

    features:  the numbers of each member that the metric needs (members, numbers).
    loss:      takes a weighted mean of the rows of `features`. It returns the metric (accuracy, F1 and AUC times -1)
               and, to break ties, the log loss.
    """

    features: np.ndarray
    loss: Callable[[np.ndarray], tuple[float, float]]


def objective(metric: str, values: Sequence[np.ndarray], labels: np.ndarray) -> Objective:
    """Return the objective of mixing members; each of `values`, and `labels`, has shape (rows, classes)."""
    entries, shares = labelled_entries(values, labels)

    def cross_entropy(mixed: np.ndarray) -> float:
        return float(-shares @ np.log(np.maximum(mixed[: len(shares)], SMALLEST)))

    if metric == "log_loss":
        return Objective(entries, lambda mixed: (cross_entropy(mixed), 0.0))
    own = by_rank(values, labels) if metric == "roc_auc" else by_top_class(metric, values, labels)
    features = np.concatenate([entries, own.features], axis=1)
    return Objective(features, lambda mixed: (own.loss(mixed[len(shares) :])[0], cross_entropy(mixed)))


def labelled_entries(values: Sequence[np.ndarray], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of each row's labelled classes (members, entries), and their shares of the log loss."""
    rows, classes = np.nonzero(labels)
    return np.stack([member[rows, classes] for member in values]), labels[rows, classes] / len(labels)


def by_top_class(metric: str, values: Sequence[np.ndarray], labels: np.ndarray) -> Objective:
    """Return the objective of accuracy or macro F1; only rows for which members name different classes are mixed."""
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
    """Return whether a loss is lower by more than rounding; the second number decides if the first is equal or NaN."""
    if abs(new[0] - old[0]) > 1e-12:
        return new[0] < old[0]
    return new[1] < old[1] - 1e-12
