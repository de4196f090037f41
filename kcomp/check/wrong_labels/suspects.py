"""List the labels that are probably wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.check.wrong_labels.mixture import LabelErrors, class_errors, number_errors
from kcomp.targets import Target, arrays

FEWEST = 5  # rows of a class, so that its labels are looked at; a predictor learns too little from fewer


@dataclass(frozen=True)
class CheckedColumn:
    """The labels of one column, compared with predictions. If each row has one class, all classes are one column.

    Attributes:
        name: The name of the column. Empty if all classes are one column.
        rows: The rows whose labels are known, int (known rows,).
        errors: The probability that each of these labels is wrong.
        labels: Each of these labels as text.
        likely: For each of these labels, the most likely other label as text.
    """

    name: str
    rows: np.ndarray
    errors: LabelErrors
    labels: Sequence[str]
    likely: Sequence[str]


@dataclass(frozen=True)
class Suspect:
    """A label that may be wrong.

    Attributes:
        row: The position in the table.
        label: The label as text.
        likely: The most likely other label as text.
        wrong: The probability that the label is wrong.
        doubt: How much the predictions contradict the label; see `LabelErrors`.
    """

    row: int
    label: str
    likely: str
    wrong: float
    doubt: float


def label_columns(target: Target, labels: np.ndarray) -> np.ndarray:
    """Return the columns that a predictor should learn, float64 (rows, columns). Missing labels are NaN.

    For grades, each grade has a column of 0 and 1. Other targets keep their label columns.
    """
    if target.class_names and len(target.class_names) != labels.shape[1]:
        levels = np.eye(len(target.class_names))[np.nan_to_num(target.decide(np.nan_to_num(labels))).astype(int)]
        return np.where(np.isnan(labels), np.nan, levels)
    return labels.astype(np.float64)


def scores_of(target: Target, predictions: np.ndarray) -> np.ndarray:
    """Turn predictions of runs, (rows, prediction columns), into a score for each column of `label_columns`."""
    names = target.class_names
    if not names:
        return predictions
    if len(names) != predictions.shape[1]:
        return -np.square(predictions - np.arange(len(names)))  # the logarithm of a normal distribution, times a factor
    if target.stacker == "multinomial":
        return np.log(np.maximum(predictions, 1e-7))
    return arrays.log_odds(np.clip(predictions, 1e-7, 1 - 1e-7))


def check_columns(target: Target, labels: np.ndarray, scores: np.ndarray) -> Iterator[CheckedColumn]:
    """Yield the labels of each column, compared with predictions. Columns with too few rows are left out."""
    names = target.class_names
    if names and target.stacker != "binary":
        yield from check_classes(names, labels, scores)
        return
    for column, name in enumerate(target.columns):
        check = check_label if names else check_numbers
        yield from check(name, labels[:, column], scores[:, column])


def check_classes(names: Sequence[str], labels: np.ndarray, scores: np.ndarray) -> Iterator[CheckedColumn]:
    """Yield the class of each row, compared with the predictions. Yield nothing if only one class has enough rows."""
    known = np.isfinite(labels).all(1) & np.isfinite(scores).all(1)
    known[known] &= labels[known].max(1) > 0.5
    counts = np.bincount(labels[known].argmax(1), minlength=len(names)) if known.any() else np.zeros(len(names))
    frequent = np.flatnonzero(counts >= FEWEST)
    if len(frequent) < 2:
        return
    rows = np.flatnonzero(known)
    rows = rows[np.isin(labels[rows].argmax(1), frequent)]
    classes = np.searchsorted(frequent, labels[rows].argmax(1))
    errors = class_errors(scores[np.ix_(rows, frequent)], classes)
    shown = [names[number] for number in frequent.tolist()]
    others = errors.probabilities.copy()
    others[np.arange(len(rows)), classes] = -1
    yield CheckedColumn(
        "", rows, errors, [shown[k] for k in classes.tolist()], [shown[k] for k in others.argmax(1).tolist()]
    )


def check_label(name: str, labels: np.ndarray, scores: np.ndarray) -> Iterator[CheckedColumn]:
    """Yield whether each row has this label, compared with predictions.

    Yield nothing if too few rows have or lack it.
    """
    rows = np.flatnonzero(np.isfinite(labels) & np.isfinite(scores))
    classes = (labels[rows] > 0.5).astype(int)
    if min(classes.sum(), len(rows) - classes.sum()) < FEWEST:
        return
    errors = class_errors(binary_logits(scores[rows], classes), classes)
    texts = (f"not {name}", name)
    yield CheckedColumn(
        name, rows, errors, [texts[k] for k in classes.tolist()], [texts[1 - k] for k in classes.tolist()]
    )


def binary_logits(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the logits of two classes, (rows, 2), by a logistic regression of the classes on the scores, (rows,)."""
    from sklearn.linear_model import LogisticRegression

    centred = (scores - scores.mean()) / (scores.std() or 1.0)
    model = LogisticRegression(C=1e4).fit(centred[:, None], classes)
    logits = model.decision_function(centred[:, None])
    return np.column_stack([-logits, logits]) / 2


def check_numbers(name: str, labels: np.ndarray, scores: np.ndarray) -> Iterator[CheckedColumn]:
    """Yield the number of each row, compared with predictions.

    Yield nothing for few rows, or if all numbers are equal.
    """
    rows = np.flatnonzero(np.isfinite(labels) & np.isfinite(scores))
    if len(rows) < 2 * FEWEST or np.ptp(labels[rows]) == 0:
        return
    errors = number_errors(scores[rows], labels[rows])
    texts = [f"{name} {value:.4g}" for value in labels[rows]]
    yield CheckedColumn(name, rows, errors, texts, [f"about {value:.4g}" for value in scores[rows]])


def rank_suspects(columns: Sequence[CheckedColumn], most: int) -> list[Suspect]:
    """Return at most `most` labels, those most probably wrong first."""
    chosen = [
        Suspect(
            int(column.rows[place]),
            column.labels[place],
            column.likely[place],
            float(column.errors.wrong[place]),
            float(column.errors.doubt[place]),
        )
        for column in columns
        for place in np.argsort(-column.errors.doubt, kind="stable")[:most].tolist()
    ]
    return sorted(chosen, key=lambda suspect: (-suspect.wrong, -suspect.doubt))[:most]
