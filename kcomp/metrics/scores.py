"""Scores of class probabilities; scikit-learn does the arithmetic."""

import warnings

import numpy as np

LOWER_IS_BETTER = frozenset({"log_loss"})
NAMES = ("accuracy", "log_loss", "macro_f1", "roc_auc")


def score(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return every score in `NAMES`.

    `labels` and `probabilities` have shape (rows, classes); a label row is one-hot or soft and sums to 1.
    Accuracy, macro F1 and ROC AUC take the most likely class of a soft label. `roc_auc` is the mean over the
    columns in which both a positive and a negative occur, and NaN where there is none (Plant Pathology 2020).
    `log_loss` is in nats.
    """
    labels, probabilities = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    from sklearn import metrics  # 2 s, which what only compares rows need not wait for

    check(labels, probabilities)
    truth, guess = labels.argmax(1), probabilities.argmax(1)
    return {
        "accuracy": float(metrics.accuracy_score(truth, guess)),
        "log_loss": cross_entropy(labels, probabilities),
        "macro_f1": float(metrics.f1_score(truth, guess, average="macro", zero_division=0.0)),
        "roc_auc": mean_column_auc(truth, probabilities),
    }


def check(labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Raise ValueError unless both have one shape (rows, classes), at least one row and only finite numbers."""
    if labels.shape != probabilities.shape or labels.ndim != 2 or not len(labels):
        raise ValueError(
            "labels and probabilities must share one shape (rows, classes) with at least one row; "
            f"received {labels.shape} and {probabilities.shape}"
        )
    if not (np.isfinite(labels).all() and np.isfinite(probabilities).all()):
        raise ValueError("labels and probabilities must be finite; received NaN or infinity")


def cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of -sum(label * log(probability)) in nats; equals scikit-learn's log_loss for one-hot labels."""
    return float(row_entropies(labels, probabilities).mean())


def row_entropies(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """For each row (rows,) -sum(label * log(probability)) in nats, clipped as scikit-learn clips float64."""
    clipped = np.clip(np.asarray(probabilities, np.float64), np.finfo(np.float64).eps, 1.0)
    return -(labels * np.log(clipped / clipped.sum(1, keepdims=True))).sum(1)


def mean_column_auc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean ROC AUC of each class against the rest; columns without both kinds of row are left out."""
    from sklearn import metrics
    from sklearn.exceptions import UndefinedMetricWarning

    present = [c for c in range(probabilities.shape[1]) if 0 < (truth == c).sum() < len(truth)]
    if not present:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndefinedMetricWarning)
        return float(np.mean([metrics.roc_auc_score(truth == c, probabilities[:, c]) for c in present]))


def better(name: str, new: float, old: float | None) -> bool:
    """Whether `new` beats `old` on the score `name`; anything finite beats None, NaN beats nothing."""
    if np.isnan(new):
        return False
    if old is None or np.isnan(old):
        return True
    return new < old if name in LOWER_IS_BETTER else new > old
