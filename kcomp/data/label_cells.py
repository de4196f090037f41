"""Split table cells that contain several labels, such as `cat|dog`."""

import numpy as np
import pandas as pd

from kcomp.system.notices import notice

SEPARATORS = {"|": "vertical bars", ";": "semicolons", ",": "commas", " ": "spaces"}  # best first


def detect_separator(cells: pd.Series) -> str | None:
    """Return the first of `SEPARATORS` that occurs in any cell. None if no separator occurs."""
    text = "\n".join(cells.dropna().str.strip().unique())
    return next((mark for mark in SEPARATORS if mark in text), None)


def split_cells(cells: pd.Series, separator: str | None, source: str) -> tuple[np.ndarray, list[str]]:
    """Split each cell into its labels.

    Args:
        cells: Texts, one for each row of a table. A missing value is a row without labels.
        separator: The text between two labels. None detects the separator and prints a notice.
        source: The origin of the cells, such as "train.csv, label", for the notice.

    Returns:
        Two things of equal length: the row number of each label, int of shape (labels,); and the labels.
    """
    mark = detect_separator(cells) if separator is None else separator
    texts = cells.fillna("").tolist()
    if mark is None:
        pieces = [[text] for text in texts]
    elif mark == " ":
        pieces = [text.split() for text in texts]
    else:
        pieces = [text.split(mark) for text in texts]
    pieces = [[name.strip() for name in names if name.strip()] for names in pieces] if mark else pieces
    if separator is None and mark is not None:
        count = len({name for names in pieces for name in names})
        notice(f"{source}: cells are split at {SEPARATORS[mark]}, into {count} labels")
    rows = np.repeat(np.arange(len(texts)), [len(names) for names in pieces])
    return rows, [name for names in pieces for name in names]


def several_in_cells(cells: pd.Series) -> tuple[str, int] | None:
    """Return (separator, number of different labels) if the cells look like lists of labels. Otherwise, return None."""
    cells = cells.dropna().drop_duplicates()
    mark = detect_separator(cells)
    if mark is None:
        return None
    pieces = [{piece.strip() for piece in cell.split(mark) if piece.strip()} for cell in cells]
    compound = [names for names in pieces if len(names) > 1]
    single = {piece for names in pieces if len(names) == 1 for piece in names}
    count = len(set().union(*pieces))
    if compound and count <= len(pieces) and all(names & single for names in compound):
        return mark, count
    return None


def hint_at_several(names: pd.Series, source: str) -> None:
    """Print a notice if class names look like lists of labels, such as `cat|dog`.

    `source` is the origin of the names, such as "train.csv, label".
    """
    several = several_in_cells(names)
    if several is not None:
        mark, count = several
        column = source.rpartition(", ")[2]
        example = next(cell for cell in names if mark in cell)
        notice(
            f"{source}: {names.nunique()} classes such as {example!r} look like several labels in a cell; "
            f"labels={column!r} reads {count} labels instead"
        )
