"""Out-of-fold predictions of runs are joined with the rows of a table by image id."""

import explained
import numpy as np
import pandas as pd
import pytest

from kcomp.check.wrong_labels.predictions import out_of_fold
from kcomp.data.tables import Table
from kcomp.system.errors import UsageError
from kcomp.targets import OneOf

TARGET = OneOf(("cat", "dog"))


@pytest.fixture
def make_run(tmp_path):
    """A function that writes a run: `a=0.25` is image a, which is a cat with probability 0.25."""

    def write(name, target=TARGET, **cats):
        predictions = np.array([[value, 1 - value] for value in cats.values()])
        labels = np.eye(2)[predictions.argmax(1)]
        folder, seed, fold = tmp_path / name, int(name[0]), int(name[1])
        return explained.write_run(
            folder, target, list(cats), labels, predictions, metric="accuracy", seed=seed, fold=fold
        )

    return write


def table(target=TARGET, **columns):
    frame = pd.DataFrame({"image_id": ["a", "b", "c"], "cat": [1.0, 0, 1], "dog": [0.0, 1, 0], **columns})
    frame["image"] = pd.Series([np.zeros((2, 2, 3), np.uint8)] * 3, dtype=object)
    return Table(frame, target)


def test_members_are_averaged_and_other_rows_are_nan(make_run):
    """Two seeds predict image a, two folds of seed 0 predict a and b, and no run predicts c."""
    runs = [make_run("00", b=0.5), make_run("01", a=0.25), make_run("10", a=0.75, z=1.0)]
    np.testing.assert_allclose(out_of_fold(runs, table()), [[0.5, 0.5], [0.5, 0.5], [np.nan, np.nan]])


def test_columns_are_in_the_order_of_the_table(make_run):
    joined = out_of_fold([make_run("00", a=0.25)], table(OneOf(("dog", "cat"))))
    np.testing.assert_allclose(joined[0], [0.75, 0.25])


def test_all_rows_of_an_item_have_its_prediction(make_run):
    joined = out_of_fold([make_run("00", p=0.25, q=1.0)], table(item=["p", "q", "p"]))
    np.testing.assert_allclose(joined[:, 0], [0.25, 1.0, 0.25])


def test_runs_of_other_data_are_refused(make_run):
    with pytest.raises(UsageError, match="the runs predict no row of this table"):
        out_of_fold([make_run("00", z=1.0)], table())
    with pytest.raises(UsageError, match="predicts other classes or numbers than the recipe"):
        out_of_fold([make_run("01", OneOf(("cat", "cow")), a=1.0)], table())


def test_two_runs_of_one_member_that_hold_out_a_row_are_refused(make_run):
    with pytest.raises(ValueError, match=r"must hold out different rows; 'a' is held out by .*00 and .*01"):
        out_of_fold([make_run("00", a=1.0), make_run("01", a=0.0)], table())
