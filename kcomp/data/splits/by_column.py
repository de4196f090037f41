"""Assign rows to folds by a column of the table: by times, or by values such as fold numbers or sites."""

import numpy as np
import pandas as pd

from kcomp.data.splits import rows
from kcomp.data.tables import Table


def folds_from(table: Table, column: str, *, allow_crossing: bool = False) -> Table:
    """Return the table with the folds that one of its columns defines.

    If all values are whole numbers from -1, these are the folds, and -1 marks rows that are never held out. Otherwise
    the values, such as names of sites or cameras, become the folds 0, 1, 2 and so on in sorted order.

    Args:
        table: The rows, without pseudo-labels.
        column: A column of `table.frame` without missing values.
        allow_crossing: Whether rows with the same `group` or `item` may be in different folds.

    Returns:
        The table with the column `fold`.

    Raises:
        ValueError: If there is no such column, a value is missing, or a group or item is in several folds.

    Examples:
        >>> from dataclasses import replace
        >>> import numpy as np
        >>> from kcomp import data
        >>> table = data.sklearn_digits().rows(np.arange(4))
        >>> table = replace(table, frame=table.frame.assign(site=["Oslo", "Bonn", "Oslo", "Rome"]))
        >>> data.folds_from(table, "site").frame["fold"].tolist()
        [1, 0, 1, 2]
    """
    ordered = rows.sorted_by_id(table)
    values = column_of(ordered, column)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    if not ((numbers >= -1) & (numbers == np.floor(numbers))).all():
        numbers = np.unique(values.astype(str), return_inverse=True)[1]
    folds = numbers.astype(np.int64)
    if not allow_crossing:
        rows.check_groups_stay(ordered, folds)
    return rows.with_folds(table, [folds])


def time_folds(table: Table, column: str, count: int, *, allow_crossing: bool = False) -> Table:
    """Split the rows into folds of equal size by time. Training uses only rows that are earlier than the held-out fold.

    The earliest part of the rows is fold -1, which is never held out. Rows of the same time get the same fold.

    Args:
        table: The rows, without pseudo-labels.
        column: A column of `table.frame` with numbers, dates or times.
        count: How many folds are held out in turn, at least 1.
        allow_crossing: Whether rows with the same `group` or `item` may be in different folds.

    Returns:
        The table with the column `fold`, -1 to count - 1.

    Raises:
        ValueError: If there is no such column, a value is missing or not a time, there are too few different times, or
            a group or item is in several folds.

    Examples:
        >>> from dataclasses import replace
        >>> import numpy as np
        >>> from kcomp import data
        >>> table = data.sklearn_digits().rows(np.arange(6))
        >>> table = replace(table, frame=table.frame.assign(year=[2024, 2020, 2021, 2022, 2023, 2019]))
        >>> table = data.time_folds(table, "year", 2)
        >>> table.frame["fold"].tolist()
        [1, -1, 0, 0, 1, -1]
        >>> training, held_out = data.split(table, fold=0)
        >>> training.frame["year"].tolist()
        [2020, 2019]
    """
    if count < 1:
        raise ValueError(f"the number of folds must be at least 1; received {count}")
    return cut_by_time(table, column, np.arange(1, count + 1) / (count + 1), allow_crossing)


def time_holdout(table: Table, column: str, fraction: float, *, allow_crossing: bool = False) -> Table:
    """Hold out the latest rows as fold 0. The earlier rows get fold -1 and are always trained on.

    Args:
        table: The rows, without pseudo-labels.
        column: A column of `table.frame` with numbers, dates or times.
        fraction: Share of rows to hold out, between 0 and 1, both excluded. Rows of the same time are not separated.
        allow_crossing: Whether some rows of a `group` or `item` may be held out while others are trained on.

    Returns:
        The table with the column `fold`, 0 or -1.

    Raises:
        ValueError: If `fraction` is out of range, or for any reason that `time_folds` lists.

    Examples:
        >>> from dataclasses import replace
        >>> import numpy as np
        >>> from kcomp import data
        >>> table = data.sklearn_digits().rows(np.arange(4))
        >>> dates = ["2024-03-01", "2024-01-09", "2025-01-01", "2023-05-05"]
        >>> table = replace(table, frame=table.frame.assign(taken=dates))
        >>> data.time_holdout(table, "taken", 0.25).frame["fold"].tolist()
        [-1, -1, 0, -1]
    """
    rows.check_fraction(fraction)
    return cut_by_time(table, column, np.array([1 - fraction]), allow_crossing)


def cut_by_time(table: Table, column: str, starts: np.ndarray, allow_crossing: bool) -> Table:
    """Return the table with folds by time.

    `starts` has, for each fold, the share of rows that are earlier. Rows before fold 0 get fold -1.
    """
    ordered = rows.sorted_by_id(table)
    times = times_of(column_of(ordered, column), column)
    middle = times.rank(method="average").to_numpy() - 0.5  # the mean position of rows with the same time
    folds = np.searchsorted(starts * len(times), middle) - 1
    lacking = sorted(set(range(-1, len(starts))) - set(folds.tolist()))
    if lacking:
        raise ValueError(
            f"{column} has {times.nunique()} different times in {len(times)} rows, too few for {len(starts)} folds of "
            "equal size and earlier rows to train on; rows of one time share a fold"
        )
    if not allow_crossing:
        rows.check_groups_stay(ordered, folds)
    return rows.with_folds(table, [folds], in_order=True)


def column_of(table: Table, column: str) -> pd.Series:
    """Return a column of the table.

    Raises:
        ValueError: If there is no such column, or a value is missing.
    """
    if column not in table.frame:
        raise ValueError(f"the table has no column {column!r}; it has {[str(name) for name in table.frame]}")
    values = table.frame[column].reset_index(drop=True)
    missing = table.frame["image_id"][values.isna().to_numpy()]
    if len(missing):
        raise ValueError(f"{column} needs a value in every row; {len(missing)} have none, first {missing.iloc[0]!r}")
    return values


def times_of(values: pd.Series, column: str) -> pd.Series:
    """Convert values to numbers or to times in UTC. Raise ValueError, with the name `column`, if this is impossible."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all():
        return numbers
    times = pd.to_datetime(values, errors="coerce", utc=True)
    invalid = values[times.isna()]
    if len(invalid):
        raise ValueError(
            f"{column} must hold numbers, dates or times of one format; {len(invalid)} are not, first "
            f"{invalid.iloc[0]!r}"
        )
    return times
