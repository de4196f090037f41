"""Convert tables with several rows for each image to one row for each image."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from kcomp.data.labels import LabelColumns
from kcomp.data.repeated import drop_repeated
from kcomp.data.spelling import join_spellings
from kcomp.data.tables import check_ids
from kcomp.system.notices import notice


def join_ids(
    source: pd.DataFrame, id_column: str, labels: LabelColumns, group: str | None, path: str, *, has_items: bool
) -> tuple[pd.DataFrame, LabelColumns]:
    """Convert a table with several rows for each image to one row for each image.

    Args:
        source: The cells of the table.
        id_column: The column of ids.
        labels: The label columns of the table.
        group: A column that must be equal in all rows of an id, or None.
        path: The file of the table, for messages.
        has_items: Whether the argument `item` or `box` of `read_csv` is set. Each row is then an image.

    Returns:
        Two things: the cells of the converted table, and its label columns.

    Raises:
        ValueError: If rows must be joined but `has_items` is true, or the rows of an id differ in `group`.
    """
    same = [] if group is None else [group]
    if labels.name_column and has_items:
        raise ValueError("numbers={names: values} joins the rows of an id; leave out `item` and `box`")
    if labels.name_column:
        return spread_rows(source, id_column, labels, same, path)
    if labels.kind == "labels" and not has_items and source[id_column].duplicated().any():
        labels = replace(labels, separator=labels.separator or "\n")
        return join_rows(source, id_column, labels, same, path), labels
    return source if has_items else drop_repeated(source, id_column, labels, path), labels


def join_rows(source: pd.DataFrame, id_column: str, labels: LabelColumns, same: list[str], path: str) -> pd.DataFrame:
    """Return a table with one row for each id, whose label cell lists all labels of the id.

    Args:
        source: The cells of the table.
        id_column: The column of ids.
        labels: The label column, and the separator to put between two labels.
        same: Columns that must be equal in all rows of an id.
        path: The file of the table, for messages.

    Raises:
        ValueError: If the rows of an id differ in a column of `same`.
    """
    check_same(source, id_column, same, path)
    [column] = labels.names
    separator = str(labels.separator)
    joined = source[column].fillna("").groupby(source[id_column], sort=False).agg(separator.join)
    rows = source.drop_duplicates(id_column).reset_index(drop=True)
    rows[column] = rows[id_column].map(joined)
    notice(f"{path}: {len(source)} rows are joined by {id_column!r} into {len(rows)} images with several labels")
    return rows


def spread_rows(
    source: pd.DataFrame, id_column: str, labels: LabelColumns, same: list[str], path: str
) -> tuple[pd.DataFrame, LabelColumns]:
    """Convert a table whose rows are (id, name, value) to a table with one row for each id and a column for each name.

    Args:
        source: The cells of the table.
        id_column: The column of ids.
        labels: The column of names (`labels.name_column`) and the column of values (`labels.names`).
        same: Columns that must be equal in all rows of an id.
        path: The file of the table, for messages.

    Returns:
        Two things: the new table, and its label columns, which are the names in sorted order.

    Raises:
        ValueError: If an id or a name is empty, an id has two rows for a name, a name equals the id column or a column
            of `same`, or the rows of an id differ in a column of `same`.
    """
    check_ids(source[id_column].drop_duplicates())
    check_same(source, id_column, same, path)
    name_column, [values] = labels.name_column, labels.names
    names = join_spellings(source[name_column], f"{path}, {name_column}")
    if names.isna().any():
        raise ValueError(f"{path}: every row needs a name in {name_column!r}; {int(names.isna().sum())} have none")
    cells = pd.DataFrame({"id": source[id_column], "name": names, "value": source[values]})
    repeated = cells[cells.duplicated(["id", "name"])]
    if len(repeated):
        raise ValueError(
            f"{path}: an id must have one row for each {name_column!r}; {len(repeated)} rows are repeated, first "
            f"{repeated['name'].iloc[0]!r} of {repeated['id'].iloc[0]!r}"
        )
    columns = sorted(set(names))
    reserved = sorted({id_column, *same} & set(columns))
    if reserved:
        raise ValueError(f"{path}: {name_column!r} may not hold the name of a column that is used; it holds {reserved}")
    wide = cells.pivot(index="id", columns="name", values="value")
    rows = source.drop_duplicates(id_column).reset_index(drop=True)
    rows = rows.drop(columns=[name for name in columns if name in rows])
    rows = pd.concat([rows, wide.loc[rows[id_column], columns].reset_index(drop=True)], axis=1)
    count = f"{len(rows)} images with {len(columns)} numbers"
    notice(f"{path}: {len(source)} rows are joined by {id_column!r} into {count}")
    return rows, replace(labels, names=tuple(columns), name_column="")


def check_same(source: pd.DataFrame, id_column: str, columns: Sequence[str], path: str) -> None:
    """Raise ValueError if rows with the same id have different values in one of `columns`."""
    groups = source.groupby(id_column, sort=False, dropna=False)
    for column in columns:
        counts = groups[column].nunique(dropna=False)
        differing = counts[counts > 1]
        if len(differing):
            raise ValueError(
                f"{path}: rows of one id must have one {column!r}; {len(differing)} ids have several, first "
                f"{differing.index[0]!r}"
            )
