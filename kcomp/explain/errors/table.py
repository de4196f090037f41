"""Build the table of errors.csv."""

import numpy as np
import pandas as pd

from kcomp.explain.held_out.outcomes import Outcomes, as_texts, decide_member, wrong_cells
from kcomp.explain.held_out.rows import HeldOutRows


def error_frame(rows: HeldOutRows, outcomes: Outcomes) -> pd.DataFrame:
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


def number_columns(rows: HeldOutRows) -> dict[str, np.ndarray]:
    """Return the columns of labels, predictions and residuals of numbers."""
    names = rows.target.columns
    values = {"label": rows.labels, "prediction": rows.predictions, "residual": rows.predictions - rows.labels}
    endings = [""] if len(names) == 1 else [f"_{name}" for name in names]
    return {
        f"{kind}{ending}": array[:, place] for kind, array in values.items() for place, ending in enumerate(endings)
    }


def wrong_labels(rows: HeldOutRows, outcomes: Outcomes) -> list[str]:
    names = np.array(rows.target.class_names, dtype=object)
    return [";".join(names[wrong]) for wrong in wrong_cells(outcomes)]


def member_columns(rows: HeldOutRows, outcomes: Outcomes) -> dict[str, np.ndarray]:
    """Return a column of predictions for each member, named after it. Empty texts or NaN where it has none."""
    columns = {}
    for member, values, own in zip(rows.members, rows.by_member, rows.held_out_by, strict=True):
        texts = np.full(len(rows), "", dtype=object)
        texts[own] = as_texts(decide_member(values[own], rows, outcomes), rows.target)
        columns[member.name] = texts
    return columns
