"""Join the rows of a table that has one row for each id and label."""

import pandas as pd

from kcomp.data.labels import LabelColumns
from kcomp.system.notices import notice


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
    groups = source.groupby(id_column, sort=False, dropna=False)
    for column in same:
        counts = groups[column].nunique(dropna=False)
        differing = counts[counts > 1]
        if len(differing):
            raise ValueError(
                f"{path}: rows of one id must have one {column!r}; {len(differing)} ids have several, first "
                f"{differing.index[0]!r}"
            )
    [column] = labels.names
    separator = str(labels.separator)
    joined = source[column].fillna("").groupby(source[id_column], sort=False).agg(separator.join)
    rows = source.drop_duplicates(id_column).reset_index(drop=True)
    rows[column] = rows[id_column].map(joined)
    notice(f"{path}: {len(source)} rows are joined by {id_column!r} into {len(rows)} images with several labels")
    return rows
