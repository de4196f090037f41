"""Join the rows of a table that has one row for each id and label, or for each id and name of a number."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from kcomp.data.labels import LabelColumns
from kcomp.data.spelling import join_spellings
from kcomp.data.tables import check_ids
from kcomp.system.notices import notice


def join_ids(
    source: pd.DataFrame, id_column: str, labels: LabelColumns, group: str | None, path: str, *, has_items: bool
) -> tuple[pd.DataFrame, LabelColumns]:
    """Return the rows, joined if an id has a row for each label or for each name of a number, and the label columns.

    Args:
        source: The cells of the table.
        id_column: The column of ids.
        labels: The label columns.
        group: A column that must be equal in all rows of an id; None for none.
        path: Where the cells come from, for messages.
        has_items: Whether each row is an image, so that rows with one id are not joined.

    Raises:
        ValueError: If rows that must be joined are images, or differ in their group.
    """
    same = [] if group is None else [group]
    if labels.long and has_items:
        raise ValueError("numbers={names: values} joins the rows of an id; leave out `item` and `box`")
    if labels.long:
        return spread_rows(source, id_column, labels, same, path)
    if labels.kind == "labels" and not has_items and source[id_column].duplicated().any():
        labels = replace(labels, separator=labels.separator or "\n")
        return join_rows(source, id_column, labels, same, path), labels
    return source, labels


def join_rows(source: pd.DataFrame, id_column: str, labels: LabelColumns, same: list[str], path: str) -> pd.DataFrame:
    """Join all rows of each id into one row. Its label cell has the labels of these rows, joined by the separator.

    Args:
        source: The cells of the table.
        id_column: The column of ids.
        labels: The column of labels, with a separator.
        same: Columns that must be equal in all rows of an id.
        path: Where the cells come from, for messages.

    Raises:
        ValueError: If a column of `same` differs within an id.
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
    """Convert a table with a row for each id and name to one with a row for each id and a column for each name.

    Return the new table and its label columns, the names in sorted order. A missing name of an id is an empty cell.

    Args:
        source: The cells of the table.
        id_column: The column of ids.
        labels: The column of names (`long`) and the column of values.
        same: Columns that must be equal in all rows of an id.
        path: Where the cells come from, for messages.

    Raises:
        ValueError: If an id or a name is empty, a name occurs twice for an id or is the name of another column that
            is used, or a column of `same` differs within an id.
    """
    check_ids(source[id_column].drop_duplicates())
    check_same(source, id_column, same, path)
    [values] = labels.names
    names = join_spellings(source[labels.long], f"{path}, {labels.long}")
    if names.isna().any():
        raise ValueError(f"{path}: every row needs a name in {labels.long!r}; {int(names.isna().sum())} have none")
    cells = pd.DataFrame({"id": source[id_column], "name": names, "value": source[values]})
    repeated = cells[cells.duplicated(["id", "name"])]
    if len(repeated):
        raise ValueError(
            f"{path}: an id must have one row for each {labels.long!r}; {len(repeated)} rows are repeated, first "
            f"{repeated['name'].iloc[0]!r} of {repeated['id'].iloc[0]!r}"
        )
    columns = sorted(set(names))
    reserved = sorted({id_column, *same} & set(columns))
    if reserved:
        raise ValueError(f"{path}: {labels.long!r} may not hold the name of a column that is used; it holds {reserved}")
    wide = cells.pivot(index="id", columns="name", values="value")
    rows = source.drop_duplicates(id_column).reset_index(drop=True)
    rows = rows.drop(columns=[name for name in columns if name in rows])
    rows = pd.concat([rows, wide.loc[rows[id_column], columns].reset_index(drop=True)], axis=1)
    count = f"{len(rows)} images with {len(columns)} numbers"
    notice(f"{path}: {len(source)} rows are joined by {id_column!r} into {count}")
    return rows, replace(labels, names=tuple(columns), long="")


def check_same(source: pd.DataFrame, id_column: str, columns: Sequence[str], path: str) -> None:
    """Raise ValueError if one of the columns differs within an id."""
    groups = source.groupby(id_column, sort=False, dropna=False)
    for column in columns:
        counts = groups[column].nunique(dropna=False)
        differing = counts[counts > 1]
        if len(differing):
            raise ValueError(
                f"{path}: rows of one id must have one {column!r}; {len(differing)} ids have several, first "
                f"{differing.index[0]!r}"
            )
