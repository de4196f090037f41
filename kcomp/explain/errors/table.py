"""Build the table of errors.csv."""

import numpy as np
import pandas as pd

from kcomp.explain.held_out.outcomes import Outcomes, as_texts, decide_member, wrong_cells
from kcomp.explain.held_out.rows import HeldOutRows


def error_frame(rows: HeldOutRows, outcomes: Outcomes) -> pd.DataFrame:
    """Return the content of errors.csv: one line for each held-out row, the largest loss first.

    For all targets, it has the columns image_id, fold, path, label, prediction, loss and confidence. Other columns
    depend on the target:

    - `correct`: 1 or 0, for classes, labels and grades.
    - `wrong_labels`: the names of the wrongly predicted labels, for several labels.
    - `grade`: the prediction before cut points are applied, for grades.
    - `residual`: the prediction minus the label, for regression. If there are several numbers, the column name ends in
      the number's name, such as `residual_width`.

    With several models, there is also a column with the predictions of each model.
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
    """Return the label, prediction and residual of each regression target as columns, by the names in errors.csv."""
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
    """Return the predictions of each member as texts, by the member's name.

    Rows that the member did not hold out have "".
    """
    columns = {}
    for member, values, own in zip(rows.members, rows.by_member, rows.held_out_by, strict=True):
        texts = np.full(len(rows), "", dtype=object)
        texts[own] = as_texts(decide_member(values[own], rows, outcomes), rows.target)
        columns[member.name] = texts
    return columns
