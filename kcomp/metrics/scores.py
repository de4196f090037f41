"""Compute the scores of class probabilities with scikit-learn."""

import warnings

import numpy as np

LOWER_IS_BETTER = frozenset({"log_loss"})
NAMES = ("accuracy", "log_loss", "macro_f1", "roc_auc")


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Compute every score in `NAMES`.

    Accuracy, macro F1 and ROC AUC use the most likely class of a soft label.

    Args:
        labels: Shape (rows, classes). Each row is one-hot or soft and sums to 1.
        probabilities: Shape (rows, classes).

    Returns:
        The scores by name. `log_loss` is in nats. `roc_auc` is the mean over the classes that have both positive and
        negative rows, and NaN if there is no such class.

    Raises:
        ValueError: If the shapes differ, there is no row, or a number is NaN or infinite.

    Examples:
        >>> import numpy as np
        >>> from kcomp.metrics import scores
        >>> labels = np.array([[1, 0], [0, 1]])
        >>> values = scores.score(labels, np.array([[0.9, 0.1], [0.2, 0.8]]))
        >>> values["accuracy"], round(values["log_loss"], 3)
        (1.0, 0.164)
    """
    labels, probabilities = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    from sklearn import metrics  # imported here because the import takes about 2 s

    check(labels, probabilities)
    true_classes, predicted_classes = labels.argmax(1), probabilities.argmax(1)
    return {
        "accuracy": float(metrics.accuracy_score(true_classes, predicted_classes)),
        "log_loss": cross_entropy(labels, probabilities),
        "macro_f1": float(metrics.f1_score(true_classes, predicted_classes, average="macro", zero_division=0.0)),
        "roc_auc": mean_column_auc(true_classes, probabilities),
    }


def check(labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Raise ValueError unless both arrays are finite and share one shape (rows, classes) with at least one row."""
    if labels.shape != probabilities.shape or labels.ndim != 2 or not len(labels):
        raise ValueError(
            "labels and probabilities must share one shape (rows, classes) with at least one row; "
            f"received {labels.shape} and {probabilities.shape}"
        )
    if not (np.isfinite(labels).all() and np.isfinite(probabilities).all()):
        raise ValueError("labels and probabilities must be finite; received NaN or infinity")


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean of -sum(label * log(probability)) in nats.

    For one-hot labels it equals scikit-learn's log_loss.
    """
    return float(row_entropies(labels, probabilities).mean())


def row_entropies(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return -sum(label * log(probability)) of each row, in nats, with shape (rows,).

    Probabilities are clipped to the float64 epsilon, as in scikit-learn, and each row is divided by its sum.
    """
    clipped = np.clip(np.asarray(probabilities, np.float64), np.finfo(np.float64).eps, 1.0)
    return -(labels * np.log(clipped / clipped.sum(1, keepdims=True))).sum(1)


def mean_column_auc(true_classes: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean ROC AUC of each class against the rest.

    Classes without a positive or without a negative row are skipped; NaN if none remains.
    """
    from sklearn import metrics
    from sklearn.exceptions import UndefinedMetricWarning

    columns = range(probabilities.shape[1])
    scored = [column for column in columns if 0 < (true_classes == column).sum() < len(true_classes)]
    if not scored:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndefinedMetricWarning)
        values = [metrics.roc_auc_score(true_classes == column, probabilities[:, column]) for column in scored]
    return float(np.mean(values))


def better(name: str, new: float, old: float | None) -> bool:
    """Return whether `new` is a better value of the score `name` than `old`.

    Every number is better than None and NaN; NaN is never better.
    """
    if np.isnan(new):
        return False
    if old is None or np.isnan(old):
        return True
    return new < old if name in LOWER_IS_BETTER else new > old
