"""Slices of held-out rows: planted ones are named, and random ones hardly ever."""

import dataclasses

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kcomp import data
from kcomp.data.tables import Table
from kcomp.explain.slices.columns import as_values, table_columns
from kcomp.explain.slices.search import (
    FALSE_ALARMS,
    LEAST,
    correct_p_values,
    find_slices,
    quantile_slices,
    worse_by_chance,
)
from kcomp.targets import OneOf


def columns_of(random, rows):
    """Two columns of numbers, of which one is coarse, and two of texts with 2 and 8 values."""
    return {
        "size": random.normal(size=rows),
        "year": random.integers(2000, 2040, rows).astype(float),
        "sex": random.choice(["f", "m"], rows).astype(object),
        "site": random.choice(list("abcdefgh"), rows).astype(object),
    }


@pytest.mark.parametrize("kind", ["wrong", "loss"])
def test_a_planted_slice_is_named_first(kind):
    random = np.random.default_rng(1)
    columns = columns_of(random, 1000)
    bad = columns["site"] == "c"
    harm = (random.random(1000) < np.where(bad, 0.4, 0.1)).astype(float)
    if kind == "loss":
        harm = random.exponential(np.where(bad, 2.0, 1.0))
    first, *others = find_slices(columns, harm)
    assert first.name == "site: c" and first.is_worse and first.rows.tolist() == np.flatnonzero(bad).tolist()
    assert first.harm.mean == pytest.approx(harm[bad].mean()) and first.rest == pytest.approx(harm[~bad].mean())
    assert not any(each.is_worse for each in others)


@pytest.mark.parametrize("kind", ["wrong", "loss"])
def test_random_slices_are_called_worse_at_most_as_often_as_stated(kind):
    alarms, sets = 0, 150
    for seed in range(sets):
        random = np.random.default_rng(seed)
        harm = (random.random(300) < 0.15).astype(float) if kind == "wrong" else random.exponential(size=300)
        alarms += any(each.is_worse for each in find_slices(columns_of(random, 300), harm))
    assert alarms <= stats.binom.ppf(0.999, sets, FALSE_ALARMS)


def test_fishers_test_by_hand():
    """Both wrong rows of five are in a slice of two: one of the ten ways to choose two rows."""
    assert worse_by_chance(np.array([1.0, 1]), np.array([0.0, 0, 0])) == pytest.approx(0.1)


def test_holms_correction_by_hand():
    slices = find_slices({"sex": np.array(["f"] * 30 + ["m"] * 30, dtype=object)}, np.arange(60) % 2.0)
    first, second = slices
    adjusted = correct_p_values([dataclasses.replace(first, p=0.04), dataclasses.replace(second, p=0.01)])
    assert [(each.p, each.adjusted) for each in adjusted] == [(0.01, 0.02), (0.04, 0.04)]


def test_small_slices_and_missing_values_are_left_out():
    values = np.array([None] * 10 + ["rare"] * (LEAST - 1) + ["often"] * 71, dtype=object)
    assert find_slices({"kind": values}, np.zeros(100)) == []
    numbers = np.array([np.nan] * 10 + list(range(90)))
    texts = [text for text, _ in quantile_slices(numbers, ~np.isnan(numbers))]
    assert texts == ["0 to 17", "18 to 35", "36 to 53", "54 to 71", "72 to 89"]
    harm = np.where(np.arange(100) < 5, np.nan, np.arange(100) % 2)
    [first, _] = find_slices({"half": np.arange(100) // 50 * 1.0}, harm)
    assert first.harm.rows in (45, 50)


def test_the_harm_expected_from_the_classes():
    """The slice m has only rows of class 1, of which three in four are wrong."""
    classes = np.repeat([0, 1], 80)
    harm = np.where(classes == 1, np.arange(160) % 4 > 0, 0).astype(float)
    sex = np.array(["f"] * 120 + ["m"] * 40, dtype=object)
    first = find_slices({"sex": sex}, harm, classes)[0]
    assert first.value == "m" and first.expected == first.harm.mean == 0.75


def test_the_columns_of_a_table():
    frame = pd.DataFrame({"image_id": ["a", "b"], "image": ["a.png", "b.png"], "cat": [1.0, 0], "dog": [0.0, 1]})
    frame = frame.assign(fold=[0, 1], group=["p1", None], age=["31", ""], year=["2001", "2002"])
    columns = table_columns(Table(frame, OneOf(("cat", "dog"))))
    assert list(columns) == ["group", "age", "year"]
    assert columns["year"].tolist() == [2001, 2002] and columns["group"][1] is None
    assert as_values(pd.Series(["1", None])).tolist()[0] == 1


def test_columns_of_the_csv_that_no_argument_names_make_slices(tmp_path):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "train.csv").write_text("id,label,fold,site,rust\na,rust,3,Oslo,1\nb,scab,4,,2\n")
    table = data.read_csv(tmp_path / "train.csv", images=tmp_path, id="id", label="label")
    assert "fold" not in table.frame and table.columns == ("rust", "scab")
    columns = table_columns(table)
    assert list(columns) == ["fold", "site", "rust"]
    assert columns["site"].tolist() == ["Oslo", None] and columns["rust"].tolist() == [1, 2]
