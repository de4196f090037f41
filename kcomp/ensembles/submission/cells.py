"""Convert predictions to the cells of a submission, in the format of the sample submission."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcomp.data.label_cells import SEPARATORS
from kcomp.ensembles.submission.sample import Sample
from kcomp.metrics.decisions import CutPoints, Thresholds
from kcomp.targets import Target

DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Choices:
    """Settings of a submission that the sample does not show.

    Attributes:
        decisions: Fitted thresholds or cut points. None for thresholds of 0.5 and the nearest grade.
        metric_on: What the metric of the runs scores, such as "decisions" (predicted classes). See `on` of
            `kcomp.metrics.Metric`.
        write: "classes" or "probabilities". None writes what the sample contains.
        positive: If the sample has one column of probabilities: the class whose probability is written. None takes the
            class with the column's name or, if there is none, the last class.
    """

    decisions: Thresholds | CutPoints | None = None
    metric_on: str = ""
    write: str | None = None
    positive: str | None = None

    def decide(self, values: np.ndarray, target: Target) -> np.ndarray:
        return target.decide(values) if self.decisions is None else self.decisions.apply(values)


@dataclass(frozen=True)
class Cells:
    columns: dict[str, Any]
    note: str


def fill(sample: Sample, values: np.ndarray, target: Target, choices: Choices) -> Cells:
    """Return the new cells for the columns of the sample submission.

    Args:
        sample: The sample submission.
        values: The prediction for each of `sample.ids`, shape (ids, prediction columns).
        target: The target of the predictions.
        choices: Settings that the sample does not show.

    Raises:
        ValueError: If the sample's columns or cells do not fit the target.
    """
    check_positive(choices.positive, target.class_names)
    names = list(target.prediction_columns)
    if sample.row_names is not None:
        rows = {image_id: row for row, image_id in enumerate(sample.ids)}
        places = [rows[image_id] for image_id in sample.row_ids], [names.index(name) for name in sample.row_names]
        return Cells({sample.columns[0]: values[places]}, "a row for each id and class")
    if is_graded(target) and len(sample.columns) == 1:
        return fill_grades(sample, values, target, choices)
    spellings = {plain(name): position for position, name in enumerate(names)}
    positions = [spellings.get(plain(column)) for column in sample.columns]
    if len(names) == len(sample.columns) and set(positions) == set(range(len(names))):
        return fill_columns(sample, values[:, positions], target, choices)  # type: ignore[index]
    if len(sample.columns) == 1:
        if not target.class_names and len(names) == 1:
            return Cells({sample.columns[0]: values[:, 0]}, f"the number {names[0]!r}")
        if target.class_names and target.decide(values[:1]).ndim == 2:
            return fill_labels(sample, values, target, choices)
        if target.class_names:
            return fill_class(sample, values, target, choices)
    raise ValueError(describe_columns(sample.columns, names))


def check_positive(name: str | None, classes: Sequence[str]) -> None:
    """Raise ValueError unless the positive class is None or one of two classes."""
    if name is not None and (len(classes) != 2 or name not in classes):
        raise ValueError(
            f"--positive takes one of two classes; received {name!r}, and the classes are {list(classes)[:10]}"
        )


def is_graded(target: Target) -> bool:
    return bool(target.class_names) and len(target.prediction_columns) == 1 < len(target.class_names)


def plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def describe_columns(columns: Sequence[str], names: Sequence[str]) -> str:
    known, needed = {plain(name) for name in names}, {plain(name) for name in columns}
    parts = []
    for text, lacking in (
        ("the sample asks for columns that are not predicted", [name for name in columns if plain(name) not in known]),
        ("it lacks the predicted columns", [name for name in names if plain(name) not in needed]),
    ):
        if lacking:
            parts.append(f"{text}: {len(lacking)}, first {lacking[:3]}")
    return "; ".join(parts)


def fill_columns(sample: Sample, values: np.ndarray, target: Target, choices: Choices) -> Cells:
    """Return the cells of a sample that has a column for each class or regression target.

    For multi-label data, the cells are 0 and 1 if the sample or `choices.write` wants classes. Otherwise they are the
    predictions.
    """
    several = bool(target.class_names) and target.decide(values[:1]).ndim == 2
    whole = sample.has_whole_numbers and choices.metric_on == "decisions"
    if several and (choices.write == "classes" or (choices.write is None and whole)):
        order = [list(map(plain, target.prediction_columns)).index(plain(column)) for column in sample.columns]
        back = np.argsort(order)
        values = choices.decide(values[:, back], target)[:, order]
        return Cells(dict(zip(sample.columns, values.T, strict=True)), "0 or 1 in a column for each label")
    kind = "probabilities in a column for each class" if target.class_names else "a column for each number"
    return Cells(dict(zip(sample.columns, values.T, strict=True)), kind)


def fill_grades(sample: Sample, values: np.ndarray, target: Target, choices: Choices) -> Cells:
    [column] = sample.columns
    levels = target.class_names
    if choices.write == "probabilities" or not (set(sample.values) <= set(levels) or sample.has_whole_numbers):
        return Cells({column: values[:, 0]}, "the expected grade")
    positions = np.clip(choices.decide(values, target), 0, len(levels) - 1)
    how = "rounded" if choices.decisions is None else "by cut points that were fitted out of fold"
    if set(sample.values) <= set(levels):
        return Cells({column: np.array(levels, dtype=object)[positions]}, f"a grade, {how}")
    return Cells({column: positions}, f"the position of the grade, {how}")


def fill_labels(sample: Sample, values: np.ndarray, target: Target, choices: Choices) -> Cells:
    """Return cells that list the names of all predicted labels of an image, separated as in the sample."""
    [column] = sample.columns
    classes = target.class_names
    mark = next((mark for mark in SEPARATORS if any(mark in text for text in sample.values)), " ")
    pieces = dict.fromkeys(piece.strip() for text in sample.values for piece in text.split(mark) if piece.strip())
    unknown = [piece for piece in pieces if plain(piece) not in map(plain, classes)]
    if unknown:
        raise ValueError(
            f"the sample's column {column!r} holds {unknown[:3]}, which are not among the labels {list(classes)[:10]}"
        )
    present = choices.decide(values, target)
    cells = [mark.join(name for name, is_present in zip(classes, row, strict=True) if is_present) for row in present]
    empty = sum(not cell for cell in cells)
    how = "0.5" if choices.decisions is None else "thresholds that were fitted out of fold"
    note = f"labels with {SEPARATORS[mark]} between them, by {how}"
    return Cells({column: cells}, note + (f"; {empty} rows have no label" if empty else ""))


def fill_class(sample: Sample, values: np.ndarray, target: Target, choices: Choices) -> Cells:
    """Return the cells of a sample that has one column to fill. They are names of classes, numbers or probabilities."""
    [column] = sample.columns
    classes, texts = target.class_names, sample.values
    numbers = bool(texts) and all(DECIMAL.fullmatch(text.strip()) for text in texts)
    by_name = bool(texts) and {plain(text) for text in texts} <= {plain(name) for name in classes}
    ranked = sample.has_whole_numbers and choices.metric_on == "columns" and choices.write is None
    fits = numbers and all(0 <= float(text) <= 1 for text in texts)
    named = plain(column) in map(plain, classes) and fits
    shown = fits and (named or ranked or not (by_name or sample.has_whole_numbers))
    if choices.write == "probabilities" or (choices.write is None and len(classes) == 2 and shown):
        return fill_probability(column, values, classes, choices)
    best = values.argmax(1)
    if by_name or (choices.write == "classes" and not numbers):
        return Cells({column: np.array(classes, dtype=object)[best]}, "the name of the most likely class")
    if sample.has_whole_numbers and all(0 <= int(text) < len(classes) for text in texts):
        listed = ", ".join(f"{position} {name}" for position, name in enumerate(classes[:4]))
        return Cells({column: best}, f"the number of the most likely class ({listed}{', ...' if classes[4:] else ''})")
    if several := fill_several(sample, values, classes):
        return several
    raise ValueError(
        f"the sample's column {column!r} holds {texts[:3]}, which are neither among the classes {list(classes)[:10]} "
        "nor numbers of classes"
    )


def fill_probability(column: str, values: np.ndarray, classes: Sequence[str], choices: Choices) -> Cells:
    name = choices.positive
    if len(classes) != 2:
        raise ValueError(f"one probability needs two classes; the runs have {len(classes)}: {list(classes)[:10]}")
    position = next((place for place, other in enumerate(classes) if plain(other) == plain(column)), len(classes) - 1)
    position = position if name is None else list(classes).index(name)
    hint = "" if name is not None or plain(column) in map(plain, classes) else " (--positive changes that)"
    return Cells({column: values[:, position]}, f"the probability of {classes[position]!r}{hint}")


def fill_several(sample: Sample, values: np.ndarray, classes: Sequence[str]) -> Cells | None:
    """Return cells that list the names of the k most likely classes. k is the largest number of names in a sample cell.

    Return None if the sample's cells are not lists of class names.
    """
    mark = next((mark for mark in SEPARATORS if any(mark in text for text in sample.values)), None)
    known = set(map(plain, classes))
    pieces = [[piece for piece in text.split(mark) if piece.strip()] for text in sample.values] if mark else []
    if not pieces or any(plain(piece) not in known for cell in pieces for piece in cell):
        return None
    count = min(max(map(len, pieces)), len(classes))
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    cells = [str(mark).join(classes[position] for position in row) for row in order]
    return Cells({sample.columns[0]: cells}, f"the {count} most likely classes, most likely first")
