"""Which rows are held out: the fold is a column, and the same rows give the same folds on every machine."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold, StratifiedShuffleSplit

from kcomp.data.tables import Table


def folds(table: Table, count: int, *, seed: int = 0) -> Table:
    """Cut the rows into `count` folds of equal size, at random (`count` from 2 to the number of rows)."""
    check_count(count, len(table))
    return assign(table, KFold(count, shuffle=True, random_state=seed).split(np.empty(len(table))))


def stratified_folds(table: Table, count: int, *, seed: int = 0) -> Table:
    """Cut the rows into `count` folds with the classes in equal shares; soft labels count as their likeliest class."""
    check_count(count, len(table))
    truth = in_id_order(table).labels.argmax(1)
    rare = [table.classes[c] for c in range(len(table.classes)) if 0 < (truth == c).sum() < count]
    if rare:
        raise ValueError(f"every class needs at least as many rows as there are folds ({count}); too rare: {rare}")
    return assign(table, StratifiedKFold(count, shuffle=True, random_state=seed).split(truth, truth))


def holdout(table: Table, fraction: float, *, seed: int = 0) -> Table:
    """Hold out a stratified `fraction` (between 0 and 1) as fold 0; the other rows get -1 and are always trained on."""
    if not 0 < fraction < 1:
        raise ValueError(f"the held-out fraction must lie between 0 and 1; received {fraction}")
    truth = in_id_order(table).labels.argmax(1)
    return assign(table, StratifiedShuffleSplit(1, test_size=fraction, random_state=seed).split(truth, truth))


def split(table: Table, fold: int) -> tuple[Table, Table]:
    """Return the rows to train on, with the pseudo-labelled ones of `fold`, and the rows of `fold`, held out."""
    check_fold(table, fold)
    held_out = table.frame["fold"].to_numpy() == fold
    labelled, pseudo = replace(table, pseudo=None), table.pseudo_of(fold)
    training = labelled.rows(~held_out)
    if pseudo is not None:
        joined = pd.concat([training.frame, pseudo.drop(columns="teachers_table").assign(fold=-1)], ignore_index=True)
        training = replace(training, frame=joined)
    return training, labelled.rows(held_out)


def check_fold(table: Table, fold: int) -> None:
    """Raise ValueError unless the table has folds and `fold` is one of them."""
    if "fold" not in table.frame:
        raise ValueError("the table has no folds; end the recipe's table function with data.stratified_folds(...)")
    allowed = fold_numbers(table)
    if fold not in allowed:
        raise ValueError(f"the folds of this table are {allowed}; received {fold}")


def fold_numbers(table: Table) -> list[int]:
    """The folds that can be held out, ascending."""
    return sorted(int(number) for number in set(table.frame["fold"]) if number >= 0)


def in_id_order(table: Table) -> Table:
    ids = table.ids
    return table.rows(np.array(sorted(range(len(ids)), key=ids.__getitem__)))


def assign(table: Table, parts: Iterator[tuple[np.ndarray, np.ndarray]]) -> Table:
    """Write the fold column; `parts` counts rows in the order of their ids, so the file's order cannot matter."""
    if table.pseudo is not None:
        raise ValueError("pseudo-labels belong to the folds they were made for; cut the folds first, then add them")
    numbers = np.full(len(table), -1)
    for number, (_, held_out) in enumerate(parts):
        numbers[held_out] = number
    by_id = dict(zip(sorted(table.ids), numbers.tolist(), strict=True))
    return replace(table, frame=table.frame.assign(fold=[by_id[image_id] for image_id in table.ids]))


def check_count(count: int, rows: int) -> None:
    if not 2 <= count <= rows:
        raise ValueError(f"the number of folds must lie between 2 and the number of rows ({rows}); received {count}")
