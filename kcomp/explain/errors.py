"""Write errors.csv, and choose the rows that the page shows as pictures."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp.explain.confusion import count_confusions, recalls
from kcomp.explain.held_out import Rows
from kcomp.explain.outcomes import Outcomes, as_texts
from kcomp.report.text import quantity

MISTAKES, UNCERTAIN, OF_CLASS = 24, 12, 4  # pictures in a gallery
CLASSES = 12  # at most this many classes or labels have a gallery


@dataclass(frozen=True)
class Gallery:
    """Rows that are shown as one gallery.

    Attributes:
        caption: What the rows have in common.
        places: Positions of the rows.
        column: The output of the network that the heat map explains. None for each row's predicted class.
    """

    caption: str
    places: np.ndarray
    column: int | None = None


def error_frame(rows: Rows, outcomes: Outcomes) -> pd.DataFrame:
    """Return the content of errors.csv: one line for each held-out row, the largest loss first.

    Columns: image_id, fold, path (empty for an image that is not a file), label, prediction, loss, confidence. Classes
    also have `correct`, 1 or 0. Several labels also have `wrong_labels`. Grades also have `grade`, the prediction
    before cut points. Numbers have `residual`, the prediction minus the label. If there are several numbers, the
    columns label, prediction and residual have the endings `_NAME`. If there are several members, a column for each has
    its prediction. Empty cells are missing values.
    """
    frame = pd.DataFrame({"image_id": rows.ids, "fold": rows.folds, "path": rows.paths})
    if outcomes.decided is None:
        frame = frame.assign(**number_columns(rows))
    else:
        correct = pd.array(outcomes.correct).astype("Int64")
        frame = frame.assign(label=outcomes.labels, prediction=outcomes.predictions, correct=correct)
        if outcomes.decided.ndim == 2:
            frame["wrong_labels"] = wrong_labels(rows, outcomes)
        elif rows.predictions.shape[1] == 1:
            frame["grade"] = rows.predictions[:, 0]
    frame = frame.assign(loss=outcomes.loss, confidence=outcomes.confidence)
    if len(rows.members) > 1:
        frame = frame.assign(**member_columns(rows, outcomes))
    return frame.iloc[np.argsort(-np.nan_to_num(outcomes.loss, nan=-np.inf), kind="stable")]


def number_columns(rows: Rows) -> dict[str, np.ndarray]:
    """Return the columns of labels, predictions and residuals of numbers."""
    names = rows.target.columns
    values = {"label": rows.labels, "prediction": rows.predictions, "residual": rows.predictions - rows.labels}
    endings = [""] if len(names) == 1 else [f"_{name}" for name in names]
    return {
        f"{kind}{ending}": array[:, place] for kind, array in values.items() for place, ending in enumerate(endings)
    }


def wrong_cells(outcomes: Outcomes) -> np.ndarray:
    """Return whether each label of each row is known and predicted wrong, bool (rows, labels)."""
    assert outcomes.true is not None and outcomes.decided is not None
    wrong: np.ndarray = ~np.isnan(outcomes.true) & (outcomes.true != outcomes.decided)
    return wrong


def wrong_labels(rows: Rows, outcomes: Outcomes) -> list[str]:
    names = np.array(rows.target.class_names, dtype=object)
    return [";".join(names[wrong]) for wrong in wrong_cells(outcomes)]


def member_columns(rows: Rows, outcomes: Outcomes) -> dict[str, np.ndarray]:
    """Return a column of predictions for each member, named after it. Empty texts or NaN where it has none."""
    columns = {}
    for member, values, own in zip(rows.members, rows.by_member, rows.held_out_by, strict=True):
        texts = np.full(len(rows), "", dtype=object)
        texts[own] = as_texts(decide_member(values[own], rows, outcomes), rows.target)
        columns[member.name] = texts
    return columns


def decide_member(values: np.ndarray, rows: Rows, outcomes: Outcomes) -> np.ndarray:
    """Return the classes that one member predicts, with the thresholds that were fitted to all rows.

    For numbers, return the predictions.
    """
    if outcomes.decided is None:
        return values
    if outcomes.fitted is None:
        return rows.target.decide(values)
    return outcomes.fitted.decisions.apply(values)


def picture_groups(rows: Rows, outcomes: Outcomes) -> list[Gallery]:
    """Choose the rows that are shown: the worst mistakes, the least certain rows, and mistakes of each class."""
    order = np.argsort(-np.nan_to_num(outcomes.severity, nan=-np.inf), kind="stable")
    if outcomes.decided is None:
        worst = order[~np.isnan(outcomes.severity[order])][:MISTAKES]
        return [Gallery("The largest errors", worst), *uncertain_group(rows, outcomes)]
    wrong = order[outcomes.correct[order] == 0]
    caption = "The most confident mistakes" if not np.isnan(outcomes.confidence).all() else "The largest mistakes"
    groups = [Gallery(f"{caption} ({quantity(len(wrong), 'wrong row')} in all)", wrong[:MISTAKES])]
    groups += uncertain_group(rows, outcomes)
    groups += label_groups(rows, outcomes) if outcomes.decided.ndim == 2 else class_groups(rows, outcomes, wrong)
    return [group for group in groups if len(group.places)]


def uncertain_group(rows: Rows, outcomes: Outcomes) -> list[Gallery]:
    """Return the rows with the lowest confidence. Without probabilities, those on which the members differ most."""
    if not np.isnan(outcomes.confidence).all():
        return [Gallery("The least certain rows", np.argsort(outcomes.confidence, kind="stable")[:UNCERTAIN])]
    if len(rows.members) < 2:
        return []
    spread = np.zeros(len(rows))
    several = rows.held_out_by.sum(0) > 1
    spread[several] = (np.nanstd(rows.by_member[:, several], 0) / rows.target.unit).max(1)
    order = np.argsort(-spread, kind="stable")[:UNCERTAIN]
    return [Gallery("Rows on which the models differ most", order[spread[order] > 0])]


def class_groups(rows: Rows, outcomes: Outcomes, wrong: np.ndarray) -> list[Gallery]:
    """Return the worst mistakes of each class, for the classes with the lowest recall. `wrong` has the worst first."""
    assert outcomes.true is not None
    names = rows.target.class_names
    shares = recalls(count_confusions(outcomes, len(names)))
    classes = sorted((share.mean, place) for place, share in enumerate(shares) if share.rows)[:CLASSES]
    groups = []
    for _, place in classes:
        own = wrong[outcomes.true[wrong] == place]
        groups.append(Gallery(f"True class {names[place]!r}: {quantity(len(own), 'wrong row')}", own[:OF_CLASS]))
    return groups


def label_groups(rows: Rows, outcomes: Outcomes) -> list[Gallery]:
    """Return the worst mistakes of each label, for the labels with the most mistakes."""
    cells, groups = wrong_cells(outcomes), []
    for column in np.argsort(-cells.sum(0), kind="stable")[:CLASSES]:
        errors = np.where(cells[:, column], np.abs(rows.labels[:, column] - rows.predictions[:, column]), -1)
        own = np.argsort(-errors, kind="stable")[: min(OF_CLASS, int(cells[:, column].sum()))]
        count = quantity(int(cells[:, column].sum()), "wrong row")
        groups.append(Gallery(f"Label {rows.target.class_names[column]!r}: {count}", own, int(column)))
    return groups
