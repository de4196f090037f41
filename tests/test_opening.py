"""What `kcomp train` says before it trains: rows, classes, and warnings."""

import numpy as np
import pandas as pd
import pytest

from kcomp.data.tables import with_class_names
from kcomp.targets import OneOf
from kcomp.training import opening


def table(names, folds):
    frame = pd.DataFrame({"image_id": [f"r{number}" for number in range(len(names))], "fold": folds})
    frame["image"] = pd.Series([np.zeros((2, 2, 3), np.uint8)] * len(names), dtype=object)
    return with_class_names(frame, names)


def test_rows_and_folds_are_counted():
    rows = table(["a", "b", "a", "b", "a"], [0, 0, 1, 1, -1])
    held = rows.frame["fold"].to_numpy() == 0
    line = opening.describe_rows(rows, rows.rows(~held), rows.rows(held), seed=3, fold=0)
    assert line == "seed 3: trains on 3 rows; fold 0 is held out, 2 rows, one of 2 folds of 2 rows"


def describe(table):
    return table.required_target.describe(table.labels)


def test_classes_are_counted_and_many_are_summarized():
    assert describe(table(["a", "b", "a"], 0)) == "2 classes, with rows: a (2), b (1)"
    names = [f"species {number:03d}" for number in range(200)] + ["species 007"]
    line = describe(table(names, 0))
    assert line == "200 classes, with rows: from 1 (species 000) to 2 (species 007)"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["ant", "Ant", "bee"], "'ant', 'Ant' are different classes"),
        (["ant ", "ant", "bee"], "'ant ', 'ant' are different classes"),
        (["caf\u00e9", "cafe\u0301"], "only differ in case, spaces or Unicode form"),
        (["ant", "bee"], None),
    ],
)
def test_similar_names_are_warned_of(names, text):
    warnings = OneOf(tuple(names)).warnings()
    assert (text in warnings[0]) if text else not warnings


@pytest.mark.parametrize(
    ("names", "warned"),
    [(["0", "1", "2"], True), (["0.5", "-1", "3e2"], True), (["0", "1", "many"], False), (["digit_0", "1"], False)],
)
def test_numbers_as_classes_are_noted(names, warned):
    lines = OneOf(tuple(names)).warnings()
    assert any("all classes are numbers" in line for line in lines) == warned


def test_a_class_without_a_training_row_is_named():
    rows = table(["a", "b", "c"], [0, 1, 1])
    held = rows.frame["fold"].to_numpy() == 0
    [warning] = opening.warn_untrained(rows.rows(~held), rows.rows(held), 0)
    assert warning == "warning: fold 0 holds out every row of 'a', so the network cannot learn it"
    assert not opening.warn_untrained(rows, rows.rows(held), 0)
