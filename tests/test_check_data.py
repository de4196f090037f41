"""The data sets of check_data.py are valid."""

import check_data
import numpy as np
import pytest


@pytest.mark.parametrize("target", check_data.EVERY_TARGET, ids=lambda target: type(target).__name__)
def test_data_sets_are_valid(target):
    table = check_data.labelled_table(target, 60, folds=3)
    assert sorted(set(table.frame["fold"])) == [0, 1, 2]
    data_set = check_data.data_set(table, test=check_data.unlabelled_table(10))
    assert len(data_set.facts) == len(data_set.facts.rows(np.arange(60))) == 60
    assert data_set.facts.readable.all()
    assert (data_set.facts.size_bytes > 0).all()


def test_one_row():
    assert len(check_data.plausible_facts(1)) == 1
    assert len(check_data.labelled_table(check_data.ONE_OF, 1, folds=0)) == 1
