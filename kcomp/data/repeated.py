"""Leave out rows that repeat an id by mistake, in a table that has one row for each image."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kcomp.data.bad_images import RepeatedId, current_record
from kcomp.data.labels import LabelColumns
from kcomp.data.spelling import key_of
from kcomp.system.notices import notice

MISTAKES = 0.1  # at most this share of the ids is repeated by mistake


def are_mistakes(ids: pd.Series) -> bool:
    """Return whether some ids are repeated, but at most a tenth of them.

    Such rows are mistakes. If more ids are repeated, the rows of an id belong together, such as its labels or boxes.
    """
    counts = ids.value_counts()
    return 0 < int((counts > 1).sum()) <= MISTAKES * len(counts)


def drop_repeated(source: pd.DataFrame, id_column: str, labels: LabelColumns, path: str) -> pd.DataFrame:
    """Return the first row of each id, if at most a tenth of the ids is repeated. Otherwise, return all rows.

    A notice counts the rows that are left out. Within `keeping_damaged`, there is neither a notice nor an error, and
    its record lists the repeated ids.

    Args:
        source: The cells of the table.
        id_column: The column of ids.
        labels: The label columns.
        path: The file of the table, for messages.

    Raises:
        ValueError: If the rows of an id have different labels.
    """
    ids = source[id_column]
    if not labels.has_single_rows or not are_mistakes(ids):
        return source
    repeated = repeated_ids(source, id_column, labels)
    record = current_record()
    if record is not None:
        record.repeated += repeated
    else:
        refuse_contradictions(repeated, path)
        rows = sum(each.rows - 1 for each in repeated)
        notice(f"{path}: {rows} rows repeat an id and its label, first {repeated[0].image_id!r}; each id is used once")
    return source[~(ids.duplicated() & ids.notna())].reset_index(drop=True)


def repeated_ids(source: pd.DataFrame, id_column: str, labels: LabelColumns) -> list[RepeatedId]:
    """Return the ids that occur in several rows, in the order of the table, with their different labels."""
    rows = source[source[id_column].duplicated(keep=False) & source[id_column].notna()]
    cells = rows[list(labels.names)]
    keys = cells.apply(comparable_names if labels.kind == "label" else comparable)
    result = []
    for image_id, own in keys.groupby(rows[id_column], sort=False):
        different = cells.loc[own.drop_duplicates().index]
        texts = tuple(label_of(labels, row) for row in different.itertuples(index=False))
        result.append(RepeatedId(str(image_id), len(own), texts))
    return result


def comparable_names(names: pd.Series) -> pd.Series:
    """Return class names so that spellings of one class are equal; see `join_spellings`."""
    return names.map(lambda name: key_of(unicodedata.normalize("NFC", name).strip()), na_action="ignore")


def comparable(cells: pd.Series) -> pd.Series:
    """Return a column of numbers as numbers, so that 1 and 1.0 are equal, and another column as names."""
    values = pd.to_numeric(cells, errors="coerce")
    return comparable_names(cells) if (values.isna() & cells.notna()).any() else values


def label_of(labels: LabelColumns, cells: tuple[Any, ...]) -> str:
    """Return the label of a row as a text, from its cells in the label columns."""
    if len(labels.names) == 1:
        return "nothing" if pd.isna(cells[0]) else str(cells[0]).strip()
    if labels.kind == "numbers":
        return ", ".join(f"{name} {cell}" for name, cell in zip(labels.names, cells, strict=True))
    values = pd.to_numeric(pd.Series(cells), errors="coerce")
    return " + ".join(name for name, value in zip(labels.names, values, strict=True) if value > 0.5) or "no class"


def refuse_contradictions(repeated: Sequence[RepeatedId], path: str) -> None:
    """Raise ValueError if the rows of an id have different labels."""
    unlike = [each for each in repeated if len(each.labels) > 1]
    if unlike:
        first = unlike[0]
        raise ValueError(
            f"{path}: {len(unlike)} ids are repeated with different labels, first {first.image_id!r} with "
            f"{' and '.join(map(repr, first.labels[:3]))}; keep one row of each (kcomp check lists them), or use "
            "`labels=` if an image may have several labels"
        )
