"""Intervals and tests, against numbers worked out by hand and scikit-learn."""

import math
import warnings

import numpy as np
import pytest
from sklearn import metrics

from kcomp import metrics as ours
from kcomp.metrics.significance import mcnemar, paired_interval, paired_metric
from kcomp.targets import AnyOf, OneOf

DRAWS = np.random.default_rng(0)


def test_a_metric_that_is_undefined_on_every_resample_has_no_interval():
    labels, predictions = np.ones((4, 1)), np.full((4, 1), 0.5)  # the ROC AUC needs rows without the label too
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interval = paired_metric(ours.roc_auc, labels, predictions, predictions, target=AnyOf(("rust",)))
    assert np.isnan([interval.mean, interval.low, interval.high]).all() and interval.rows == 4


def test_a_mean_over_rows_has_the_interval_of_its_row_values():
    labels, target = np.eye(4)[DRAWS.integers(0, 4, 50)], OneOf(("a", "b", "c", "d"))
    first, second = DRAWS.dirichlet(np.ones(4), (2, 50))
    interval = paired_metric(ours.log_loss, labels, first, second, target=target)
    rows = [-np.log((labels * predictions).sum(1)) for predictions in (first, second)]
    by_hand = paired_interval(*rows)
    assert (interval.low, interval.high, interval.rows) == pytest.approx((by_hand.low, by_hand.high, 50))
    losses = [metrics.log_loss(labels.argmax(1), predictions, labels=range(4)) for predictions in (first, second)]
    assert interval.mean == pytest.approx(losses[0] - losses[1])
    assert interval.negative().low == -interval.high and interval.negative().mean == -interval.mean


def test_the_bootstrap_of_any_metric_agrees_with_that_of_row_values():
    """The micro F1 of one class a row is the accuracy, but is no mean over rows to the bootstrap."""
    labels, target = np.eye(3)[DRAWS.integers(0, 3, 200)], OneOf(("a", "b", "c"))
    first, second = 0.4 * labels + DRAWS.dirichlet(np.ones(3), (2, 200)), DRAWS.dirichlet(np.ones(3), (2, 200))
    by_rows = paired_metric(ours.accuracy, labels, first, second, target=target)
    resampled = paired_metric(ours.micro_f1, labels, first, second, target=target)
    assert resampled.mean == pytest.approx(by_rows.mean) and resampled.rows == 200
    width = by_rows.high - by_rows.low
    assert resampled.low == pytest.approx(by_rows.low, abs=0.1 * width)
    assert resampled.high == pytest.approx(by_rows.high, abs=0.1 * width)


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
