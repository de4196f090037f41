"""Split a table into the rows to train on and the held-out rows of one fold."""

from dataclasses import replace

import numpy as np
import pandas as pd

from kcomp.data.tables import Table, fold_columns


def split(table: Table, fold: int) -> tuple[Table, Table]:
    """Split a table into the rows to train on and the held-out rows of one fold.

    After `time_folds`, only rows of earlier folds are trained on.

    Args:
        table: Rows with folds.
        fold: Number of the fold to hold out.

    Returns:
        Two tables: the training rows, followed by the pseudo-labelled rows of this fold if there are any; and the
        held-out rows. Training rows with soft labels for this fold have these labels.

    Raises:
        ValueError: If the table has no folds, or no such fold.

    Examples:
        >>> from kcomp import data
        >>> training, held_out = data.split(data.folds(data.sklearn_digits(), 3), fold=2)
        >>> len(training), len(held_out)
        (1198, 599)
    """
    check_fold(table, fold)
    numbers = table.frame[fold_columns(table.frame)[repeat_of(table, fold)]].to_numpy()
    held_out = numbers == fold
    labelled, pseudo = replace(table, pseudo=None), table.pseudo_of(fold)
    training = labelled.rows(numbers < fold if table.folds_in_order else ~held_out)
    if pseudo is not None:
        is_test = pseudo["row_kind"] == "test"
        added = pseudo[is_test].drop(columns=["teachers_table", "row_kind"]).assign(fold=-1)
        frame = with_labels(training.frame, pseudo[~is_test], list(table.columns))
        training = replace(training, frame=pd.concat([frame, added], ignore_index=True))
    return training, labelled.rows(held_out)


def with_labels(frame: pd.DataFrame, rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return `frame` with the labels that `rows` has for the same ids. Rows with other ids are ignored."""
    labels = rows.set_index("image_id")[columns].reindex(frame["image_id"])
    has_label = frame["image_id"].isin(rows["image_id"]).to_numpy()
    values = np.where(has_label[:, None], labels.to_numpy(), frame[columns].to_numpy())
    return frame.assign(**dict(zip(columns, values.T, strict=True)))


def repeat_of(table: Table, fold: int) -> int:
    """Return the number of the repeat, from 0, that a fold belongs to; see `repeats` of `folds`."""
    names = fold_columns(table.frame)
    return next(repeat for repeat, name in enumerate(names) if fold in table.frame[name].to_numpy())


def check_fold(table: Table, fold: int) -> None:
    """Raise ValueError unless the table has a fold with the number `fold`."""
    if "fold" not in table.frame:
        raise ValueError("the table has no folds; end the recipe's table function with data.stratified_folds(...)")
    allowed = fold_numbers(table)
    if fold not in allowed:
        raise ValueError(f"the folds of this table are {allowed}; received {fold}")


def fold_numbers(table: Table) -> list[int]:
    """Return the numbers of the folds that can be held out, in ascending order."""
    values = table.frame[fold_columns(table.frame)].to_numpy()
    return sorted(int(number) for number in set(values.ravel().tolist()) if number >= 0)
