"""Split rows into folds for the cross-validation of a probe (a model that predicts labels from frozen features)."""

from dataclasses import replace

import numpy as np
import pandas as pd

from kcomp.data.splits.assign import assign
from kcomp.data.splits.rows import TOGETHER, group_of_rows
from kcomp.data.tables import Table, fold_columns

FOLDS = 5


def probe_folds(table: Table, seed: int, *, together: np.ndarray | None = None) -> np.ndarray:
    """Return the fold of each row, int (rows,), for a cross-validation that holds out every row once.

    These are the folds of the table if it has suitable ones, else the result of `new_folds`. `together` has a group
    number for each row. Rows of a group share a fold.
    """
    if "fold" in table.frame and not table.folds_in_order:
        folds = table.frame[fold_columns(table.frame)[0]].to_numpy()
        alone = together is None or (pd.Series(folds).groupby(together).nunique() == 1).all()
        if alone and (folds >= 0).all() and len(np.unique(folds)) > 1:
            return folds.astype(int)
    return new_folds(table, seed, together=together)


def new_folds(table: Table, seed: int, *, together: np.ndarray | None = None) -> np.ndarray:
    """Split rows into five stratified folds, and return the fold of each row, int (rows,).

    Rows share a fold if they have the same value of `group` or `item`, or the same number in `together`.
    """
    groups = joined_groups(group_numbers(table), together)
    count = min(FOLDS, len(table) if groups is None else len(np.unique(groups)))
    if count < 2:
        return np.zeros(len(table), int)
    return stratified(table.required_target.strata(table.labels.astype(np.float64)), groups, count, seed)


def group_numbers(table: Table) -> np.ndarray | None:
    """Return the group number of each row, int (rows,), or None if the table has no column `group` or `item`."""
    frame = table.frame
    own = pd.Series([("alone", row) for row in range(len(frame))], frame.index, dtype=object)
    filled = {name: frame[name].astype(object).where(frame[name].notna(), own) for name in TOGETHER if name in frame}
    return group_of_rows(replace(table, frame=frame.assign(**filled))) if filled else None


def joined_groups(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """Join two groupings of rows. Rows with equal numbers in `first` or in `second` get the same group number."""
    if first is None or second is None:
        return second if first is None else first
    frame = pd.DataFrame({"image_id": "", "group": first, "item": second})
    return group_of_rows(Table(frame.assign(image_id=[str(row) for row in range(len(frame))], image="")))


def stratified(strata: np.ndarray, groups: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Split rows into `count` folds with equal shares of each stratum. Return the fold of each row, int (rows,).

    Args:
        strata: The stratum number of each row, int (rows,), or bool (rows, labels); see `Target.strata`.
        groups: The group number of each row, or None. Rows of a group share a fold.
        count: The number of folds.
        seed: Seed of the random split.
    """
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    return assign(strata, groups, np.full(count, 1 / count), splitter=splitter, seed=seed)
