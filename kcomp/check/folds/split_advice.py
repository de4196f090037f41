"""Suggest a better way to split a table into folds."""

import numpy as np
import pandas as pd

from kcomp.check.data_set import DataSet
from kcomp.data.splits import fold_numbers
from kcomp.data.splits.rows import one_hot
from kcomp.data.tables import Table
from kcomp.probe.folds import group_numbers

UNEQUAL = 0.25  # relative difference of a class's share, as in data.holdout
FEW_ROWS = 500
LATER = 0.9  # share of test rows that are later than the median training row
LEVEL = 0.001


def split_advice(data_set: DataSet) -> list[str]:
    """Return a paragraph for each reason to split the table in another way."""
    table = data_set.table
    if not len(table):
        return []
    if "fold" not in table.frame:
        return ["Cut the rows with `data.stratified_folds(table, 5)`: its folds have equal shares of each label."]
    advice = [duplicates_advice(data_set), groups_advice(table), time_advice(data_set)]
    if not table.folds_in_order:
        advice += [stratify_advice(table), more_folds_advice(table)]
    return [text for text in advice if text]


def duplicates_advice(data_set: DataSet) -> str:
    """Return advice to group equal images if some of them are in different folds, else ""."""
    hashes, folds = data_set.facts.pixels_hash, data_set.table.frame["fold"].to_numpy()
    readable = data_set.facts.readable
    if not readable.any():
        return ""
    numbers = pd.Series(folds[readable]).groupby(hashes[readable].astype(str)).nunique()
    crossing = int((numbers > 1).sum())
    if not crossing:
        return ""
    return (
        f"{crossing} images occur in several folds with equal pixels, so held-out rows were seen in training. Give "
        "rows of equal images the same value in a column `group`, or drop them; `data.stratified_folds` keeps groups "
        "together."
    )


def groups_advice(table: Table) -> str:
    """Return advice to keep each group in one fold if a group is in several folds, else ""."""
    groups = group_numbers(table)
    if groups is None:
        return ""
    numbers = pd.Series(table.frame["fold"].to_numpy()).groupby(groups).nunique()
    crossing = int((numbers > 1).sum())
    if not crossing:
        return ""
    return (
        f"{crossing} of {len(numbers)} groups are in several folds. If test rows belong to other groups, held-out "
        "scores are too high: cut with `data.stratified_folds(table, 5)` without `allow_crossing`."
    )


def time_advice(data_set: DataSet) -> str:
    """Return advice to hold out the latest rows if most test images were taken later than training images, else ""."""
    if data_set.test_facts is None or data_set.table.folds_in_order:
        return ""
    times, test_times = (
        facts.photo_time[~np.isnan(facts.photo_time)] for facts in (data_set.facts, data_set.test_facts)
    )
    if min(len(times), len(test_times)) < 20 or (test_times > np.median(times)).mean() < LATER:
        return ""
    return (
        "Most test images were taken later than the training images (EXIF time). `data.time_folds` or "
        "`data.time_holdout` hold out the latest rows, which is closer to the competition."
    )


def stratify_advice(table: Table) -> str:
    """Return advice to stratify if a fold has over a quarter more or fewer rows of a class than expected, else ""."""
    from scipy import stats

    target, folds = table.required_target, table.frame["fold"].to_numpy()
    hot = one_hot(target.strata(table.labels.astype(np.float64))).astype(float)
    numbers = fold_numbers(table)
    members = np.stack([folds == number for number in numbers if (folds == number).any()]).astype(float)
    if len(members) < 2:
        return ""
    counts = members @ hot
    expected = members.sum(1, keepdims=True) * hot[folds >= 0].sum(0) / max(members.sum(), 1)
    enough = expected.min(0) >= 4  # with fewer rows, a quarter is less than one row
    if not enough.any():
        return ""
    distance = ((counts - expected)[:, enough] ** 2 / expected[:, enough]).sum()
    chance = float(stats.chi2.sf(distance, (len(members) - 1) * max(int(enough.sum()) - 1, 1)))
    worst = float(np.abs(counts / np.maximum(expected, 1e-9) - 1)[:, enough].max())
    if worst <= UNEQUAL:
        return ""
    if chance < LEVEL:
        return (
            f"The folds differ in their labels by more than chance (up to {100 * worst:.0f} %). "
            "This is right if the folds are sites or times. Otherwise, cut the rows with `data.stratified_folds`: each "
            "fold then has the same share of each label."
        )
    return (
        f"The share of a label differs by up to {100 * worst:.0f} % between a fold and the table. "
        "`data.stratified_folds` makes the shares equal, which lowers the noise of the score."
    )


def more_folds_advice(table: Table) -> str:
    """Return advice to use more folds and repeated folds if the table is small, else ""."""
    numbers, rows = fold_numbers(table), len(table)
    if rows >= FEW_ROWS or rows < 20 or "fold_1" in table.frame or len(numbers) >= 10:
        return ""
    share = 1 - 1 / max(len(numbers), 2)
    return (
        f"With {rows} rows, more folds and repeated folds help: `data.stratified_folds(table, 10, repeats=3)` trains "
        f"on 90 % of the rows instead of {100 * share:.0f} %, and averages over three ways to cut the rows."
    )
