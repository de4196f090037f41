"""Out-of-fold predictions of runs are joined with the rows of a table by image id."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kcomp.check.wrong_labels.predictions import out_of_fold
from kcomp.data.tables import Table
from kcomp.system.errors import UsageError
from kcomp.targets import OneOf

TARGET = OneOf(("cat", "dog"))


@dataclass
class FakeRun:
    frame: Any
    target: Any = TARGET
    folder: str = "runs/x"

    def probabilities(self, name):
        assert name == "oof"
        return self.frame


def predictions(**cats):
    """Predictions of images: `a=0.25` is a cat with probability 0.25. The columns have another order than the target's."""
    return pd.DataFrame({"dog": [1 - value for value in cats.values()], "cat": list(cats.values())}, list(cats))


def table(**columns):
    frame = pd.DataFrame({"image_id": ["a", "b", "c"], "cat": [1.0, 0, 1], "dog": [0.0, 1, 0], **columns})
    frame["image"] = pd.Series([np.zeros((2, 2, 3), np.uint8)] * 3, dtype=object)
    return Table(frame, TARGET)


def test_runs_are_averaged_and_other_rows_are_nan():
    runs = [FakeRun(predictions(b=0.5, a=0.25)), FakeRun(predictions(a=0.75, z=1.0))]
    joined = out_of_fold(runs, table())
    np.testing.assert_allclose(joined, [[0.5, 0.5], [0.5, 0.5], [np.nan, np.nan]])


def test_all_rows_of_an_item_have_its_prediction():
    joined = out_of_fold([FakeRun(predictions(p=0.25, q=1.0))], table(item=["p", "q", "p"]))
    np.testing.assert_allclose(joined[:, 0], [0.25, 1.0, 0.25])


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (FakeRun(predictions(z=1.0)), "the runs predict no row of this table"),
        (FakeRun(predictions(a=1.0), OneOf(("cat", "cow"))), "predicts other classes or numbers than the recipe"),
    ],
)
def test_runs_of_other_data_are_refused(run, text):
    with pytest.raises(UsageError, match=text):
        out_of_fold([run], table())
