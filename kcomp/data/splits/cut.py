"""Split rows into random folds: plain, stratified, grouped and repeated. The order of the rows does not matter."""

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit

from kcomp.data.splits import rows
from kcomp.data.splits.assign import assign
from kcomp.data.tables import Table
from kcomp.system.notices import notice

FAR = 0.25  # print a notice if the held-out share is off by more than FAR * min(fraction, 1 - fraction)


def folds(table: Table, count: int, *, seed: int = 0, repeats: int = 1, allow_crossing: bool = False) -> Table:
    """Split the rows into folds of equal size at random.

    Rows with the same value in the column `group` or `item` share a fold.

    Args:
        table: The rows, without pseudo-labels.
        count: Number of folds, from 2 to the number of rows or groups.
        seed: Seed of the shuffle. Row order does not matter.
        repeats: How many times to split all rows into folds. The folds of repeat r, from 0, have the numbers r * count
            to (r + 1) * count - 1. Column `fold` has the folds of repeat 0, column `fold_1` has the folds of repeat 1,
            and so on.
        allow_crossing: Whether rows with the same `group` or `item` may be in different folds.

    Returns:
        The table with the column `fold`, 0 to count - 1, and one more column for each repeat after the first.

    Raises:
        ValueError: If `count` or `repeats` is out of range, or a row has no group.

    Examples:
        >>> from kcomp import data
        >>> table = data.folds(data.sklearn_digits(), 3, seed=0)
        >>> table.frame["fold"].value_counts().tolist()
        [599, 599, 599]
        >>> training, held_out = data.split(data.folds(table, 3, repeats=2), fold=5)
        >>> len(training), len(held_out)
        (1198, 599)
    """
    groups = None if allow_crossing else rows.group_of_rows(rows.sorted_by_id(table))
    equal = np.zeros(len(table), int)
    return cut_repeatedly(table, equal, groups, equal > 0, KFold, count=count, repeats=repeats, seed=seed)


def stratified_folds(
    table: Table,
    count: int,
    *,
    seed: int = 0,
    repeats: int = 1,
    rare: str = "train",
    allow_crossing: bool = False,
) -> Table:
    """Split the rows into folds with equal shares of each class, label, grade or range of numbers.

    Rows with the same value in the column `group` or `item` share a fold. A row whose label is a mixture of classes
    counts as the most likely class.

    Args:
        table: Labelled rows, without pseudo-labels.
        count: Number of folds, from 2 to the number of rows or groups.
        seed: Seed of the shuffle. Row order does not matter.
        repeats: How many times to split all rows into folds; see `folds`.
        rare: What to do with a class that has fewer rows than there are folds. "train" puts its rows and all rows of
            the same groups into fold -1, which is never held out. "error" raises ValueError.
        allow_crossing: Whether rows with the same `group` or `item` may be in different folds.

    Returns:
        The table with the column `fold`, -1 to count - 1, and one more column for each repeat after the first.

    Raises:
        ValueError: If `count` or `repeats` is out of range, the rows have no labels, a row has no group, or a class is
            too rare for `rare="error"`.

    References:
        Sechidis, Tsoumakas and Vlahavas 2011, On the stratification of multi-label data.

    Examples:
        >>> from kcomp import data
        >>> table = data.stratified_folds(data.sklearn_digits(), 5, seed=0)
        >>> training, held_out = data.split(table, fold=0)
        >>> len(training), len(held_out)
        (1437, 360)
    """
    ordered = rows.sorted_by_id(table)
    groups = None if allow_crossing else rows.group_of_rows(ordered)
    strata = rows.strata_of(ordered)
    rows.check_count(count, len(table))
    trained = whole_groups(rows.rows_of_rare_classes(ordered, strata, count, rare), groups)
    return cut_repeatedly(table, strata, groups, trained, StratifiedKFold, count=count, repeats=repeats, seed=seed)


def holdout(
    table: Table,
    fraction: float,
    *,
    seed: int = 0,
    stratified: bool = True,
    rare: str = "train",
    allow_crossing: bool = False,
) -> Table:
    """Hold out a share of the rows as fold 0. The other rows get fold -1 and are always trained on.

    Rows with the same value in the column `group` or `item` stay together.

    Args:
        table: The rows, without pseudo-labels; labelled, if stratified.
        fraction: Share of rows to hold out, between 0 and 1, both excluded.
        seed: Seed of the shuffle. Row order does not matter.
        stratified: Whether to hold out the same share of each class, label, grade or range of numbers, as
            `stratified_folds` does.
        rare: What to do with a class of one row. "train" trains on the row and prints a notice, "error" raises
            ValueError.
        allow_crossing: Whether some rows of a `group` or `item` may be held out while others are trained on.

    Returns:
        The table with the column `fold`, 0 or -1.

    Raises:
        ValueError: If `fraction` is out of range, a row has no group, all rows are in one group, a class is too rare
            for `rare="error"`, or no row is left to hold out.

    Examples:
        >>> from kcomp import data
        >>> table = data.holdout(data.sklearn_digits(), 0.2, seed=0)
        >>> training, held_out = data.split(table, fold=0)
        >>> len(held_out)
        360
    """
    rows.check_fraction(fraction)
    ordered = rows.sorted_by_id(table)
    groups = None if allow_crossing else rows.group_of_rows(ordered)
    strata, trained = np.zeros(len(table), int), np.zeros(len(table), bool)
    if stratified:
        strata = rows.strata_of(ordered)
        trained = whole_groups(rows.rows_of_rare_classes(ordered, strata, 2, rare), groups)
        if trained.all():
            raise ValueError(
                "no row is left to hold out: each row, or another row of its group, is the only row of its class; "
                "stratified=False ignores the classes"
            )
    splitter = (StratifiedShuffleSplit if stratified else ShuffleSplit)(1, test_size=fraction, random_state=seed)
    shares = np.array([fraction, 1 - fraction])
    numbers = np.full(len(table), -1)
    free_groups = select(groups, ~trained)
    numbers[~trained] = -assign(strata[~trained], free_groups, shares, splitter=splitter, seed=seed)
    if free_groups is not None and len(free_groups):
        numbers[~trained] = with_both_sides(numbers[~trained], free_groups, fraction, total=len(table))
    return rows.with_folds(table, [numbers])


def with_both_sides(numbers: np.ndarray, groups: np.ndarray, fraction: float, *, total: int) -> np.ndarray:
    """Return the fold of each row, so that at least one group is held out and at least one row is trained on.

    If the share of held-out rows is far from `fraction`, print a notice.

    Args:
        numbers: The fold of each row that may be held out, shape (rows,): 0 if it is held out, -1 if it is trained on.
        groups: The group of each of these rows, shape (rows,).
        fraction: The share of rows to hold out.
        total: The number of rows of the table, including rows that may not be held out.
    """
    may_all = total > len(groups)
    names, sizes = np.unique(groups, return_counts=True)
    shares = sizes / len(groups)
    if len(names) == 1 and not may_all:
        raise ValueError(f"a hold-out needs at least two groups, and all {len(groups)} rows are in one group")
    if (numbers < 0).all():
        numbers = np.where(groups == names[np.abs(shares - fraction).argmin()], 0, -1)
    elif (numbers == 0).all() and not may_all:
        numbers = np.where(groups == names[np.abs(shares - (1 - fraction)).argmin()], -1, 0)
    share = (numbers == 0).sum() / total
    if abs(share - fraction) > FAR * min(fraction, 1 - fraction):
        notice(
            f"the hold-out has {share:.0%} of the rows, not {fraction:.0%}: rows of a group or item stay together, and "
            f"the {len(names)} groups have {sizes.min()} to {sizes.max()} rows"
        )
    return numbers


def whole_groups(chosen: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return whether each row's group has a chosen row, bool (rows,).

    Args:
        chosen: Whether each row is chosen, bool (rows,).
        groups: The group of each row. If it is None, `chosen` is returned.
    """
    return chosen if groups is None else np.isin(groups, groups[chosen])


def select(values: np.ndarray | None, chosen: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[chosen]


def cut_repeatedly(
    table: Table,
    strata: np.ndarray,
    groups: np.ndarray | None,
    trained: np.ndarray,
    splitter_class: type,
    *,
    count: int,
    repeats: int,
    seed: int,
) -> Table:
    """Split the rows into `count` folds, `repeats` times, and return the table with the fold columns.

    Args:
        table: The rows.
        strata: The stratum of each row, sorted by image id.
        groups: The group of each row, sorted by image id, or None.
        trained: Whether each row gets fold -1, so that it is never held out, sorted by image id.
        splitter_class: A class of scikit-learn; see `assign`.
        count: The number of folds.
        repeats: The number of repeats.
        seed: The seed of the first repeat.
    """
    if repeats < 1:
        raise ValueError(f"the number of repeats must be at least 1; received {repeats}")
    free_groups = select(groups, ~trained)
    if free_groups is None:
        rows.check_count(count, int((~trained).sum()), "rows that can be held out" if trained.any() else "rows")
    else:
        rows.check_count(count, len(np.unique(free_groups)), "groups")
    shares, columns = np.full(count, 1 / count), []
    for repeat in range(repeats):
        splitter = splitter_class(count, shuffle=True, random_state=seed + repeat)
        numbers = np.full(len(table), -1)
        positions = assign(strata[~trained], free_groups, shares, splitter=splitter, seed=seed + repeat)
        numbers[~trained] = positions + repeat * count
        columns.append(numbers)
    return rows.with_folds(table, columns)
