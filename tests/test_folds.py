"""Folds: sizes, shares of labels, groups, time, repeats, and what is refused."""

import contextlib
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit

from kcomp import data
from kcomp.data.splits.group_stratify import stratify_groups
from kcomp.data.splits.stratify import stratify
from kcomp.system.notices import Notice
from kcomp.targets import AnyOf, Numbers, OneOf

THIRDS = np.full(3, 1 / 3)


def made(classes, **columns):
    """A table with one class a row; ids sort in row order."""
    names = sorted(set(classes))
    frame = pd.DataFrame({"image_id": [f"r{number:04}" for number in range(len(classes))], "image": b""})
    for name in names:
        frame[name] = np.float32(np.array(classes) == name)
    return data.Table(frame.assign(**columns), OneOf(tuple(names)))


def numbers(table):
    return table.frame["fold"].to_numpy()


def positions(splits, rows):
    folds = np.full(rows, -1)
    for number, (_, held_out) in enumerate(splits):
        folds[held_out] = number
    return folds.tolist()


def test_without_groups_scikit_learn_cuts():
    classes = list("aab" * 20)
    table, codes = made(classes), np.array([name == "b" for name in classes])
    splits = KFold(4, shuffle=True, random_state=7).split(codes)
    assert numbers(data.folds(table, 4, seed=7)).tolist() == positions(splits, 60)
    splits = StratifiedKFold(4, shuffle=True, random_state=7).split(codes, codes)
    assert numbers(data.stratified_folds(table, 4, seed=7)).tolist() == positions(splits, 60)
    splits = StratifiedShuffleSplit(1, test_size=0.3, random_state=7).split(codes, codes)
    assert numbers(data.holdout(table, 0.3, seed=7)).tolist() == positions(splits, 60)
    splits = ShuffleSplit(1, test_size=0.3, random_state=7).split(codes)
    assert numbers(data.holdout(table, 0.3, seed=7, stratified=False)).tolist() == positions(splits, 60)


def test_several_labels_worked_out_by_hand():
    """Label 1 is the rarest, so its two rows part first; the other rows of label 0 then even out the folds."""
    labels = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [0, 0], [0, 0]], bool)
    for seed in range(10):
        folds = stratify(labels, np.array([0.5, 0.5]), seed=seed)
        assert sorted(folds[:2]) == sorted(folds[2:4]) == sorted(folds[4:]) == [0, 1]


def distance(labels, folds, count):
    """Label distribution of the paper, equation 3: the mean difference of the odds of a label in a fold and in all."""
    odds = labels.sum(0) / (len(labels) - labels.sum(0))
    parts = [labels[folds == fold] for fold in range(count)]
    return np.mean([np.abs(part.sum(0) / (len(part) - part.sum(0)) - odds) for part in parts])


@pytest.mark.parametrize("seed", range(3))
def test_several_labels_keep_their_shares(seed):
    """The paper's table 3: iterative stratification is several times nearer to the shares than random folds."""
    random = np.random.default_rng(seed)
    labels = random.random((600, 10)) < random.uniform(0.02, 0.4, 10)
    folds = stratify(labels, np.full(5, 0.2), seed=seed)
    chance = np.mean([distance(labels, random.permutation(600) % 5, 5) for _ in range(20)])
    assert distance(labels, folds, 5) < chance / 4
    assert np.ptp(np.bincount(folds)) <= 10
    rarest = labels.sum(0).argmin()
    assert np.ptp(np.bincount(folds[labels[:, rarest]], minlength=5)) <= 1


def test_labels_and_numbers_are_stratified():
    random = np.random.default_rng(0)
    labels = (random.random((200, 3)) < [0.5, 0.3, 0.02]).astype(np.float32)
    labels[:, 2] = np.arange(200) < 5
    frame = pd.DataFrame({"image_id": [f"{number:03}" for number in range(200)], "image": b""})
    table = data.Table(frame.assign(**dict(zip("abc", labels.T))), AnyOf(("a", "b", "c")))
    folds = data.stratified_folds(table, 5, seed=0)
    held_out = np.array([data.split(folds, fold)[1].labels.sum(0) for fold in range(5)])
    assert np.ptp(held_out, 0).max() <= 2 and held_out[:, 2].tolist() == [1] * 5
    grouped = replace(table, frame=table.frame.assign(group=np.arange(200) // 2))
    held_out = np.array([data.split(data.stratified_folds(grouped, 4), fold)[1].labels.sum(0) for fold in range(4)])
    assert np.ptp(held_out, 0).max() <= 4
    with pytest.warns(UserWarning, match=r"'c' \(5\)$"):
        assert (numbers(data.stratified_folds(table, 6))[:5] == -1).all()
    table = data.Table(frame.assign(weight=random.permutation(200).astype(float)), Numbers(("weight",)))
    folds = data.stratified_folds(table, 5, seed=0)
    means = [data.split(folds, fold)[1].labels.mean() for fold in range(5)]
    assert np.ptp(means) < 5  # of random folds: about 20
    assert len(data.split(data.holdout(table, 0.1), 0)[1]) == 20


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=3, max_size=40), st.integers(0, 5))
def test_groups_without_labels_are_balanced(sizes, seed):
    folds = stratify_groups(np.zeros((len(sizes), 0)), np.array(sizes), THIRDS, seed=seed)
    rows = np.bincount(folds, weights=sizes, minlength=3)
    assert rows.sum() == sum(sizes) and rows.min() > 0
    assert rows.max() < sum(sizes) / 3 + max(sizes)


def test_groups_with_labels_worked_out_by_hand():
    """Four pairs of groups; each fold must get one of each pair."""
    counts = np.array([[4, 0], [4, 0], [0, 4], [0, 4], [2, 1], [2, 1], [1, 0], [1, 0]])
    for seed in range(10):
        folds = stratify_groups(counts, counts.sum(1), np.array([0.5, 0.5]), seed=seed)
        assert all(set(folds[pair : pair + 2]) == {0, 1} for pair in range(0, 8, 2))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_no_group_crosses_and_row_order_does_not_matter(seed, groups):
    random = np.random.default_rng(seed)
    table = made(list("aabc" * 12), group=[*range(groups), *random.integers(groups, size=48 - groups)])
    order = random.permutation(48)
    cuts = (
        lambda table: data.folds(table, 2, seed=1),
        lambda table: data.stratified_folds(table, 2, seed=1),
        lambda table: data.holdout(table, 0.3, seed=1),
        lambda table: data.holdout(table, 0.3, seed=1, stratified=False),
    )
    for cut in cuts:
        folds = cut(table).frame
        assert (folds.groupby("group")["fold"].nunique() == 1).all()
        assert cut(table.rows(order)).fingerprint() == cut(table).fingerprint()


def test_stratified_groups_keep_the_shares_of_classes():
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(100), 4)
    base = random.dirichlet(np.ones(3), 100)
    classes = ["abc"[random.choice(3, p=base[number])] for number in group]
    table = data.stratified_folds(made(classes, group=group), 5, seed=0)
    for fold in range(5):
        _, held_out = data.split(table, fold)
        assert abs(len(held_out) - 80) <= 4
        assert np.abs(held_out.labels.mean(0) - table.labels.mean(0)).max() < 0.03
    assert (numbers(table) != numbers(data.stratified_folds(table, 5, seed=1))).any()


def test_rows_that_share_an_item_or_a_group_stay_together():
    """r0, r1 share an item, r1, r2 a group: all three are together."""
    table = made(list("abababab"), group=list("wxxyyzzv"), item=list("ppqrstuv"))
    for seed in range(10):
        folds = numbers(data.folds(table, 3, seed=seed))
        assert folds[0] == folds[1] == folds[2] and folds[3] == folds[4] and folds[5] == folds[6]
    assert len({*numbers(data.folds(table, 8, allow_crossing=True))}) == 8
    with pytest.raises(ValueError, match=r"number of groups \(4\); received 5"):
        data.folds(table, 5)
    with pytest.raises(ValueError, match="every row needs a group; 1 have none, first 'r0001'"):
        data.folds(made(list("ab"), group=["p", None]), 2)


@pytest.mark.parametrize(
    ("sizes", "fraction", "held", "notice"),
    [
        ((5, 5), 0.1, {5}, "the hold-out has 50% of the rows, not 10%: .* the 2 groups have 5 to 5 rows"),
        ((7, 3), 0.01, {3}, "the hold-out has 30% of the rows, not 1%"),
        ((6, 4), 0.95, {6}, "the hold-out has 60% of the rows, not 95%"),
        ((4, 3, 3), 0.3, {3}, None),
    ],
)
def test_a_hold_out_of_few_large_groups(sizes, fraction, held, notice):
    """Groups that are too large for the share: the nearest share that holds out one and trains on one."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    table = made(list("ab" * 5), group=groups)
    for stratified in (False, True):
        with pytest.warns(UserWarning, match=notice) if notice else no_warning():
            numbers_of_rows = numbers(data.holdout(table, fraction, stratified=stratified))
        assert (numbers_of_rows == 0).sum() in held


@contextlib.contextmanager
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_hold_out_needs_a_row_that_is_not_the_only_one_of_its_class():
    with pytest.raises(ValueError, match="no row is left to hold out"):
        data.holdout(made(list("abcd")), 0.5)
    with pytest.raises(ValueError, match="no row is left to hold out"):
        data.holdout(made(list("aabc"), group=["p", "q", "p", "q"]), 0.5)


def test_the_share_of_a_hold_out_counts_rows_of_rare_classes():
    table = made(list("aaaaaabbc"), group=list("pppqqqppr"))  # r has the only row of c, and is trained on
    with pytest.warns(UserWarning, match="the hold-out has 33% of the rows, not 10%"):
        assert numbers(data.holdout(table, 0.1)).tolist() == [-1, -1, -1, 0, 0, 0, -1, -1, -1]


def test_a_hold_out_of_one_group_is_refused():
    with pytest.raises(ValueError, match="at least two groups, and all 4 rows are in one group"):
        data.holdout(made(list("abab"), group=["p"] * 4), 0.3)


def test_warnings_of_rare_classes_are_one_line():
    with pytest.warns(Notice, match="never held out: 'c'"):
        data.stratified_folds(made(list("aabbc")), 2)


def test_rare_classes_are_trained_on():
    table = made(list("aaaaabbbbbcde"))
    with pytest.warns(UserWarning, match=r"fewer than 5 rows are .* never held out: 'c' \(1\), 'd' \(1\), 'e' \(1\)$"):
        cut = data.stratified_folds(table, 5)
    assert numbers(cut)[10:].tolist() == [-1, -1, -1] and sorted(numbers(cut)[:10]) == sorted([0, 1, 2, 3, 4] * 2)
    for fold in range(5):
        training, held_out = data.split(cut, fold)
        assert len(training) == 11 and held_out.labels.sum(0).tolist() == [1, 1, 0, 0, 0]
    with pytest.raises(ValueError, match=r"at least 5 rows .* too rare: 'c' \(1\), 'd' \(1\)"):
        data.stratified_folds(table, 5, rare="error")
    with pytest.raises(ValueError, match="'train' or 'error'; received 'drop'"):
        data.stratified_folds(table, 5, rare="drop")
    with pytest.warns(UserWarning, match="fewer than 2 rows"):
        assert numbers(data.holdout(table, 0.4))[10:].tolist() == [-1, -1, -1]


def test_the_group_of_a_rare_row_is_trained_on():
    table = made(list("aaaaabbbbbc"), group=list("pqrstuvwxyp"))
    with pytest.warns(UserWarning, match="'c'"):
        folds = numbers(data.stratified_folds(table, 3))
    assert folds[[0, 10]].tolist() == [-1, -1] and (folds[1:10] >= 0).all()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=r"rows that can be held out; there are 0"):
        data.stratified_folds(made(list("abcd")), 2)


def test_folds_by_time_train_on_earlier_rows_only():
    days = [
        "2024-03-09",
        "2024-01-02",
        "2023-12-31",
        "2024-03-10",
        "2024-02-01",
        "2024-02-02",
        "2024-02-03",
        "2022-01-01",
    ]
    table = data.time_folds(made(list("abababab"), day=days), "day", 3)
    assert numbers(table).tolist() == [2, 0, -1, 2, 0, 1, 1, -1]
    sizes = [tuple(map(len, data.split(table, fold))) for fold in range(3)]
    assert sizes == [(2, 2), (4, 2), (6, 2)]
    for fold in range(3):
        training, held_out = data.split(table, fold)
        assert training.frame["day"].max() < held_out.frame["day"].min()
    assert numbers(data.time_holdout(table, "day", 0.25)).tolist() == [0, -1, -1, 0, -1, -1, -1, -1]


def test_rows_of_one_time_share_a_fold():
    table = made(list("ababab"), year=[1, 2, 2, 2, 3, 4])
    assert numbers(data.time_folds(table, "year", 2)).tolist() == [-1, 0, 0, 0, 1, 1]


def test_folds_by_time_refuse():
    table = made(
        list("abab"), day=["2024-01-01", "2024-01-01", "2024-01-02", "soon"], year=[1, 1, 1, 2], group=list("xyzx")
    )
    with pytest.raises(ValueError, match="dates or times of one format; 1 are not, first 'soon'"):
        data.time_folds(table, "day", 1)
    with pytest.raises(ValueError, match="year has 2 different times in 4 rows, too few for 3 folds"):
        data.time_folds(table, "year", 3)
    with pytest.raises(ValueError, match="no column 'month'; it has"):
        data.time_folds(table, "month", 3)
    with pytest.raises(ValueError, match="rows of one group must share a fold; 1 of 3 are in several, first 'x'"):
        data.time_holdout(table, "year", 0.25)
    assert numbers(data.time_holdout(table, "year", 0.25, allow_crossing=True)).tolist() == [-1, -1, -1, 0]


def test_folds_from_a_column():
    table = made(list("abab"), own=["3", "-1", "1", "3"], site=["Rome", "Bonn", "Rome", "Oslo"], hole=[1, None, 2, 3])
    assert numbers(data.folds_from(table, "own")).tolist() == [3, -1, 1, 3]
    assert numbers(data.folds_from(table, "site")).tolist() == [2, 0, 2, 1]
    with pytest.raises(ValueError, match="hole needs a value in every row; 1 have none, first 'r0001'"):
        data.folds_from(table, "hole")
    grouped = replace(table, frame=table.frame.assign(item=list("xyxx")))
    with pytest.raises(ValueError, match="rows of one item must share a fold; 1 of 2 are in several, first 'x'"):
        data.folds_from(grouped, "own")
    assert numbers(data.folds_from(grouped, "own", allow_crossing=True)).tolist() == [3, -1, 1, 3]


def test_repeats_have_fold_numbers_of_their_own():
    table = data.stratified_folds(made(list("ab" * 10)), 4, repeats=3, seed=5)
    assert data.splits.fold_numbers(table) == list(range(12))
    for repeat, name in enumerate(("fold", "fold_1", "fold_2")):
        single = data.stratified_folds(table, 4, seed=5 + repeat)
        assert (table.frame[name] == single.frame["fold"] + 4 * repeat).all()
        held_out = [data.split(table, fold)[1].ids for fold in range(4 * repeat, 4 * repeat + 4)]
        assert sorted(np.concatenate(held_out)) == table.ids
    training, held_out = data.split(table, 9)
    assert len(training) == 15 and not set(training.ids) & set(held_out.ids)
    assert table.fingerprint() != data.stratified_folds(table, 4, seed=5).fingerprint()
    with pytest.raises(ValueError, match="repeats must be at least 1; received 0"):
        data.folds(table, 2, repeats=0)
