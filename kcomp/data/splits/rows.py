"""Functions for tables that get folds: sort rows by id, number groups, find rare classes, add fold columns."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kcomp.data.tables import Table, fold_columns
from kcomp.system.notices import notice

TOGETHER = ("group", "item")  # rows with the same value in one of these columns get the same fold


def sorted_by_id(table: Table) -> Table:
    ids = table.ids
    return table.rows(np.array(sorted(range(len(ids)), key=ids.__getitem__)))


def group_of_rows(table: Table) -> np.ndarray | None:
    """Return a group number for each row, int of shape (rows,).

    Rows with the same `group` or the same `item` are in one group, also through other rows. Return None if the table
    has neither column.
    """
    columns = [name for name in TOGETHER if name in table.frame]
    if not columns:
        return None
    for name in columns:
        missing = table.frame["image_id"][table.frame[name].isna()]
        if len(missing):
            raise ValueError(f"every row needs a {name}; {len(missing)} have none, first {missing.iloc[0]!r}")
    rows, values, count = np.arange(len(table)), [], len(table)
    for name in columns:
        codes = pd.factorize(table.frame[name])[0]
        values.append(codes + count)
        count += codes.max(initial=-1) + 1
    first, second = np.tile(rows, len(columns)), np.concatenate(values)
    edges = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return connected_components(edges, directed=False)[1][: len(table)]


def strata_of(table: Table) -> np.ndarray:
    """Return the stratum number of each row, shape (rows,). A stratum is a class, a grade or a range of numbers.

    For multi-label data, return whether each row has each label, bool of shape (rows, labels).
    """
    if table.target is None:
        raise ValueError("these rows have no labels to stratify by; cut them with data.folds(...)")
    return table.target.strata(table.labels)


def one_hot(strata: np.ndarray) -> np.ndarray:
    """Return whether each row belongs to each stratum, bool of shape (rows, strata).

    `strata` are stratum numbers, shape (rows,), or already have the shape of the result.
    """
    return strata[:, None] == np.arange(strata.max(initial=-1) + 1) if strata.ndim == 1 else strata.astype(bool)


def rows_of_rare_classes(table: Table, strata: np.ndarray, least: int, rare: str) -> np.ndarray:
    """Return whether each row belongs to a class with fewer than `least` rows, bool of shape (rows,).

    Args:
        table: The rows.
        strata: The classes or labels of the rows, as `strata_of` returns them.
        least: How many rows a class needs so that it is not rare.
        rare: If there are rare classes, "train" prints a notice and "error" raises ValueError.
    """
    if rare not in ("train", "error"):
        raise ValueError(f"`rare` must be 'train' or 'error'; received {rare!r}")
    classes = table.target.class_names if table.target else ()
    if not classes:  # ranges of numbers
        return np.zeros(len(table), bool)
    labels = one_hot(strata)
    sizes = labels.sum(0)
    positions = np.flatnonzero((sizes > 0) & (sizes < least))
    names = ", ".join(f"{classes[position]!r} ({sizes[position]})" for position in positions[:10])
    names += ", ..." if len(positions) > 10 else ""
    if len(positions) and rare == "error":
        raise ValueError(f"every class needs at least {least} rows to be in every fold; too rare: {names}")
    if len(positions):
        notice(f"classes with fewer than {least} rows are trained on in every fold and never held out: {names}")
    return labels[:, positions].sum(1) > 0


def with_folds(table: Table, columns: Sequence[np.ndarray], *, in_order: bool = False) -> Table:
    """Return the table with new fold columns. Existing fold columns are replaced.

    Args:
        table: The rows, without pseudo-labels.
        columns: One array of fold numbers, shape (rows,), for each repeat of the split. The rows are sorted by image
            id.
        in_order: Whether a training uses only rows of the folds before the held-out fold.
    """
    if table.pseudo is not None:
        raise ValueError("pseudo-labels belong to the folds they were made for; cut the folds first, then add them")
    if not any((numbers >= 0).any() for numbers in columns):
        raise ValueError("every row is trained on and none is left to hold out")
    frame = table.frame.drop(columns=fold_columns(table.frame))
    for repeat, numbers in enumerate(columns):
        name = f"fold_{repeat}" if repeat else "fold"
        by_id = dict(zip(sorted(table.ids), numbers.tolist(), strict=True))
        frame = frame.assign(**{name: [by_id[image_id] for image_id in table.ids]})
    return replace(table, frame=frame, folds_in_order=in_order)


def check_groups_stay(table: Table, numbers: np.ndarray) -> None:
    """Raise ValueError if rows with the same `group` or `item` are in different folds.

    `table` is sorted by image id, and `numbers` has the fold of each row.
    """
    for name in TOGETHER:
        if name not in table.frame:
            continue
        folds = pd.Series(numbers).groupby(table.frame[name].to_numpy()).nunique()
        crossing = folds.index[folds > 1]
        if len(crossing):
            raise ValueError(
                f"rows of one {name} must share a fold; {len(crossing)} of {len(folds)} are in several, first "
                f"{crossing[0]!r}. Cut with data.stratified_folds(...), or pass allow_crossing=True"
            )


def check_count(count: int, rows: int, noun: str = "rows") -> None:
    if rows < 2:
        raise ValueError(f"cutting folds needs at least 2 {noun}; there are {rows}")
    if not 2 <= count <= rows:
        raise ValueError(f"the number of folds must lie between 2 and the number of {noun} ({rows}); received {count}")


def check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ValueError(f"the held-out fraction must lie between 0 and 1; received {fraction}")
