"""Intervals and tests, against numbers worked out by hand and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics

from kcomp.metrics import scores
from kcomp.metrics.significance import mcnemar, paired_interval, row_values

DRAWS = np.random.default_rng(0)


def test_means_of_row_values_are_the_scores():
    labels = np.eye(4)[DRAWS.integers(0, 4, 50)]
    probabilities = DRAWS.dirichlet(np.ones(4), 50)
    found, wanted = row_values(labels, probabilities), scores.score(labels, probabilities)
    for name in found:
        assert found[name].mean() == pytest.approx(wanted[name], abs=1e-12)
    assert found["log_loss"].mean() == pytest.approx(metrics.log_loss(labels.argmax(1), probabilities, labels=range(4)))


def test_mcnemar_is_the_binomial_tail():
    first = np.array([1] * 10 + [0] * 2 + [1] * 30)  # 10 that only the first has right, 2 that only the second has
    second = np.array([0] * 10 + [1] * 2 + [1] * 30)
    tail = sum(math.comb(12, k) for k in range(3)) / 2**12
    assert mcnemar(first, second) == (10, 2, pytest.approx(2 * tail))
    assert mcnemar(second, first) == (2, 10, pytest.approx(2 * tail))
    assert mcnemar(first, first) == (0, 0, 1.0)


@pytest.mark.parametrize("draw", [lambda n: DRAWS.normal(0.3, 1, n), lambda n: DRAWS.choice([-1.0, 0, 1], n)])
def test_an_interval_is_as_wide_as_the_normal_theory_says(draw):
    values = draw(2000)
    found = paired_interval(values, np.zeros(2000))
    error = values.std() / math.sqrt(2000)
    assert found.mean == pytest.approx(values.mean()) and found.rows == 2000
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    covered = 0
    for trial in range(200):
        values = np.random.default_rng(trial).exponential(1.0, 60)
        found = paired_interval(values, np.ones(60), seed=trial)
        covered += found.low <= 0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_equal_rows_have_no_interval_and_wrong_ones_are_refused():
    same = paired_interval(np.ones(5), np.ones(5))
    assert (same.mean, same.low, same.high) == (0, 0, 0) and not same.excludes_zero
    assert paired_interval(np.full(9, 2.0), np.ones(9)).excludes_zero
    with pytest.raises(ValueError, match="arrays of one shape"):
        paired_interval(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="arrays of one shape"):
        paired_interval(np.ones(0), np.ones(0))
