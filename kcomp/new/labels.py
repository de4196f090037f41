"""Find the label columns of a competition's table, from the option --label or from their names and values."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from kcomp.data.repeated import are_mistakes
from kcomp.new.columns import Labels, choose_columns, classify, kind_of, numbers_of
from kcomp.system.errors import UsageError


def find_labels(
    frame: pd.DataFrame,
    ids: pd.Series,
    used: Sequence[str],
    sample_columns: Sequence[str],
    *,
    label: str | None,
    target: str | None,
    has_boxes: bool,
) -> tuple[Labels, str]:
    """Find the label columns, and the argument of `data.read_csv` that reads them, such as `label` or `numbers`.

    Args:
        frame: The labelled rows.
        ids: The column of image ids.
        used: Columns that are known to be ids, boxes, groups or times.
        sample_columns: The columns of the sample submission, except its first column. Empty if there is no sample.
        label: The value of `--label`: column names with commas between. None chooses the columns.
        target: The value of `--target`: classes, labels, numbers or grades. None decides from the cells.
        has_boxes: Whether each row is a box of an image, so that an id may have several rows.

    Returns:
        Two things: the label columns, and why they were chosen, as text for the user.

    Raises:
        UsageError: If it is unclear which column is the label, or the cells do not fit `target`.
    """
    if label is not None:
        columns, reason = label_columns(frame, str(ids.name), label), "--label"
    elif not has_boxes and target in (None, "numbers") and (value := find_value(frame, ids, used)):
        columns, reason = (value,), "the only column of numbers that differ within an id"
    else:
        columns, reason = choose_columns(frame, used, sample_columns)
    labels = classify(frame, columns, ids, target)
    if labels.argument == "numbers" and len(columns) == 1 and not has_boxes:
        names = find_names(frame, ids, [*used, *columns])
        if names is not None:
            return replace(labels, name_column=names, reason=f"a row for each id and {names}", others=()), reason
    if labels.argument in ("label", "grades") and (missing := int(frame[columns[0]].isna().sum())):
        raise UsageError(f"every row needs a {columns[0]!r}; {missing} of {len(frame)} rows have none")
    return labels, reason


def label_columns(frame: pd.DataFrame, id_column: str, label: str) -> tuple[str, ...]:
    """Split the value of `--label` into column names. Raise UsageError for an unknown column or the id column."""
    names = tuple(name.strip() for name in label.split(","))
    absent = [name for name in names if name not in frame]
    if absent:
        raise UsageError(f"--label takes columns of the table, {list(map(str, frame))}; received {absent}")
    if id_column in names:
        raise UsageError(f"--label takes columns beside the ids; received {id_column!r}")
    return names


def find_names(frame: pd.DataFrame, ids: pd.Series, used: Sequence[str]) -> str | None:
    """Return the column of names, if each row of the table is (id, name of a number, number). Otherwise, return None.

    This is the first text column in which no id has the same name twice, and names occur twice or more on average.
    """
    if not ids.duplicated().any() or are_mistakes(ids):
        return None
    for name in frame:
        cells = frame[name]
        if name in used or cells.isna().any() or not 2 <= cells.nunique() <= len(frame) / 2:
            continue
        if numbers_of(frame[[name]]) is None and not pd.DataFrame({"id": ids, "name": cells}).duplicated().any():
            return str(name)
    return None


def find_value(frame: pd.DataFrame, ids: pd.Series, used: Sequence[str]) -> str | None:
    """Return the column of numbers, if each row of the table is (id, name of a number, number). Otherwise, None."""
    names = find_names(frame, ids, used)
    if names is None:
        return None
    values = []
    for name in frame:
        numbers = None if name in (*used, names) else numbers_of(frame[[name]])
        if numbers is None or frame[name].groupby(ids).nunique().max() < 2:
            continue
        if kind_of(str(name), frame[name].dropna().str.strip(), numbers)[0] == "numbers":
            values.append(str(name))
    return values[0] if len(values) == 1 else None
