"""Cut rows into folds.

The fold of a row is a column of the table. The same rows get the same folds on every machine, in any row order.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold, StratifiedShuffleSplit

from kcomp.data.tables import Table


def folds(table: Table, count: int, *, seed: int = 0) -> Table:
    """Cut the rows into folds of equal size at random, with scikit-learn's KFold.

    Args:
        table: The rows, without pseudo-labels.
        count: Number of folds, from 2 to the number of rows.
        seed: Seed of the shuffle. Row order does not matter.

    Returns:
        The table with the column `fold`, 0 to count - 1.

    Raises:
        ValueError: If `count` is out of range.

    Examples:
        >>> from kcomp import data
        >>> table = data.folds(data.sklearn_digits(), 3, seed=0)
        >>> table.frame["fold"].value_counts().tolist()
        [599, 599, 599]
    """
    check_count(count, len(table))
    return assign_folds(table, KFold(count, shuffle=True, random_state=seed).split(np.empty(len(table))))


def stratified_folds(table: Table, count: int, *, seed: int = 0) -> Table:
    """Cut the rows into folds with equal shares of each class, with scikit-learn's StratifiedKFold.

    A soft label counts as its most likely class.

    Args:
        table: Labelled rows, without pseudo-labels.
        count: Number of folds, from 2 to the number of rows of the rarest class.
        seed: Seed of the shuffle. Row order does not matter.

    Returns:
        The table with the column `fold`, 0 to count - 1.

    Raises:
        ValueError: If `count` is out of range, or the rows have no labels.

    Examples:
        >>> from kcomp import data
        >>> table = data.stratified_folds(data.sklearn_digits(), 5, seed=0)
        >>> training, held_out = data.split(table, fold=0)
        >>> len(training), len(held_out)
        (1437, 360)
    """
    check_count(count, len(table))
    classes = sorted_by_id(table).labels.argmax(1)
    sizes = np.bincount(classes, minlength=len(table.columns))
    rare = [name for name, size in zip(table.columns, sizes, strict=True) if 0 < size < count]
    if rare:
        raise ValueError(f"every class needs at least as many rows as there are folds ({count}); too rare: {rare}")
    return assign_folds(table, StratifiedKFold(count, shuffle=True, random_state=seed).split(classes, classes))


def holdout(table: Table, fraction: float, *, seed: int = 0) -> Table:
    """Hold out a stratified share of the rows as fold 0.

    The other rows get fold -1 and are always trained on.

    Args:
        table: Labelled rows, without pseudo-labels.
        fraction: Share of rows to hold out, between 0 and 1, both excluded.
        seed: Seed of the shuffle. Row order does not matter.

    Returns:
        The table with the column `fold`, 0 or -1.

    Raises:
        ValueError: If `fraction` is out of range, or a class has too few rows.

    Examples:
        >>> from kcomp import data
        >>> table = data.holdout(data.sklearn_digits(), 0.2, seed=0)
        >>> training, held_out = data.split(table, fold=0)
        >>> len(held_out)
        360
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the held-out fraction must lie between 0 and 1; received {fraction}")
    classes = sorted_by_id(table).labels.argmax(1)
    splitter = StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
    return assign_folds(table, splitter.split(classes, classes))


def split(table: Table, fold: int) -> tuple[Table, Table]:
    """Split the rows into those to train on and those of one fold.

    Args:
        table: Rows with folds.
        fold: Number of the fold to hold out.

    Returns:
        The training rows, followed by the pseudo-labelled rows of this fold, and the held-out rows.

    Raises:
        ValueError: If the table has no folds, or no such fold.

    Examples:
        >>> from kcomp import data
        >>> training, held_out = data.split(data.folds(data.sklearn_digits(), 3), fold=2)
        >>> len(training), len(held_out)
        (1198, 599)
    """
    check_fold(table, fold)
    held_out = table.frame["fold"].to_numpy() == fold
    labelled, pseudo = replace(table, pseudo=None), table.pseudo_of(fold)
    training = labelled.rows(~held_out)
    if pseudo is not None:
        joined = pd.concat([training.frame, pseudo.drop(columns="teachers_table").assign(fold=-1)], ignore_index=True)
        training = replace(training, frame=joined)
    return training, labelled.rows(held_out)


def check_fold(table: Table, fold: int) -> None:
    """Raise ValueError unless `fold` is a fold of the table."""
    if "fold" not in table.frame:
        raise ValueError("the table has no folds; end the recipe's table function with data.stratified_folds(...)")
    allowed = fold_numbers(table)
    if fold not in allowed:
        raise ValueError(f"the folds of this table are {allowed}; received {fold}")


def fold_numbers(table: Table) -> list[int]:
    """Return the folds that can be held out, ascending."""
    return sorted(int(number) for number in set(table.frame["fold"]) if number >= 0)


def sorted_by_id(table: Table) -> Table:
    ids = table.ids
    return table.rows(np.array(sorted(range(len(ids)), key=ids.__getitem__)))


def assign_folds(table: Table, splits: Iterator[tuple[np.ndarray, np.ndarray]]) -> Table:
    """Return the table with a fold column.

    `splits` holds the positions of training and held-out rows, counted in the order of the sorted ids. Row order
    therefore cannot change the folds.
    """
    if table.pseudo is not None:
        raise ValueError("pseudo-labels belong to the folds they were made for; cut the folds first, then add them")
    numbers = np.full(len(table), -1)
    for number, (_, held_out) in enumerate(splits):
        numbers[held_out] = number
    by_id = dict(zip(sorted(table.ids), numbers.tolist(), strict=True))
    return replace(table, frame=table.frame.assign(fold=[by_id[image_id] for image_id in table.ids]))


def check_count(count: int, rows: int) -> None:
    if not 2 <= count <= rows:
        raise ValueError(f"the number of folds must lie between 2 and the number of rows ({rows}); received {count}")
