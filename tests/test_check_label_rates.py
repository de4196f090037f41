"""The interval of the share of wrong labels, and probabilities that include how well the share is known."""

import numpy as np
import pytest
from check_data import ONE_OF, data_set, labelled_table
from scipy import optimize, stats

from kcomp.check.wrong_labels.mixture import class_errors
from kcomp.check.wrong_labels.part import check_wrong_labels, share_of, share_verdict
from kcomp.check.wrong_labels.rates import Profile, profile_of
from kcomp.check.wrong_labels.suspects import CheckedColumn


def binomial_loss(hits, count):
    return lambda values, rate: -float(stats.binom.logpmf(hits, count, max(rate, 1e-9))) + float(values[0] ** 2)


@pytest.mark.parametrize(("hits", "count"), [(5, 100), (0, 50), (100, 2000)])
def test_the_interval_is_that_of_the_likelihood_ratio(hits, count):
    """For a share of a binomial distribution; the other parameter has no influence."""
    loss = binomial_loss(hits, count)
    profile = profile_of(loss, [np.array([0.5])], [(-1.0, 1.0)], hits / count)
    assert np.abs(profile.values).max() < 1e-3
    excess = lambda rate: 2 * (loss([0.0], rate) - loss([0.0], hits / count)) - stats.chi2.ppf(0.95, 1)  # noqa: E731
    low = optimize.brentq(excess, 1e-9, hits / count) if hits else 0.0
    high = optimize.brentq(excess, hits / count, 0.4)
    assert profile.interval() == pytest.approx((low, high), abs=0.15 * (high - low))


def test_the_mean_over_shares_by_hand():
    """Two equally likely shares, 0 and 0.2, with equal widths: the second has the prior density 0.8 ** 19."""
    profile = Profile(np.array([0.0, 0.2]), np.zeros(2), np.array([[1.0], [2.0]]))
    weight = 0.8**19 / (1 + 0.8**19)
    mean = profile.average(lambda rate, values: np.array([rate, values[0]]))
    assert mean == pytest.approx([0.2 * weight, 1 + weight])


def probe(count, strength, wrong, seed):
    """Scores of two classes by a weak probe, and labels of which the first ones are wrong."""
    classes = np.arange(count) % 2
    scores = np.random.default_rng(seed).normal(size=(count, 2)) + strength * np.eye(2)[classes]
    classes[:wrong] = 1 - classes[:wrong]
    return scores, classes


@pytest.mark.parametrize("wrong", [0, 4, 8])
def test_the_interval_of_small_tables_holds_the_share(wrong):
    """A fit of 80 rows often says 0 %, and its interval nearly always holds the true share."""
    errors = [class_errors(*probe(80, 2.5, wrong, seed)) for seed in range(12)]
    assert sum(each.interval[0] <= wrong / 80 <= each.interval[1] for each in errors) >= 10
    assert max(each.rate for each in errors) < 0.25 and all(each.interval[1] > 0 for each in errors)


def test_probabilities_of_small_tables_are_not_all_or_nothing():
    scores, classes = probe(80, 2.5, 4, 0)
    errors = class_errors(scores, classes)
    assert errors.rate < 0.01  # so all probabilities would be 0
    assert 0.1 < errors.wrong.max() < 0.9
    scores, classes = probe(2000, 6, 100, 0)
    errors = class_errors(scores, classes)
    assert errors.wrong[:100].mean() > 0.9 and errors.interval == pytest.approx((0.04, 0.06), abs=0.007)


def test_the_verdict_says_what_the_rows_allow():
    assert share_verdict(0.0, (0.0, 0.02), 900, certain=False).endswith(
        "chance explains: at most 2.0 % (95 % interval)."
    )
    text = share_verdict(0.0, (0.0, 0.12), 80, certain=False)
    assert text == (
        "80 labels are too few, or their predictions too weak, to estimate how many are wrong: 0.0 % to 12.0 % (95 % "
        "interval). Look at the first 10 pictures below."
    )
    text = share_verdict(0.05, (0.02, 0.09), 80, certain=True)
    assert text == "2.0 % to 9.0 % of the labels are wrong (95 % interval), probably 5.0 %."


def test_a_small_table_gets_an_interval_and_a_list():
    scores, classes = probe(80, 1.0, 0, 0)
    table = labelled_table(ONE_OF, 80, labels=np.eye(3)[classes])
    part = check_wrong_labels(data_set(table, predictions=ONE_OF.predict(np.column_stack([scores, np.full(80, -9.0)]))))
    low, high = part.numbers["interval"]
    assert low == 0 and high > 0.1 and "labels are too few, or their predictions" in part.section.verdict
    assert not part.findings


def test_shares_of_several_columns_are_joined():
    """Two columns of 60 and 20 rows: the mean of 0.1 and 0.2, and the root of the squared weighted distances."""
    scores, classes = probe(20, 3.0, 0, 0)
    errors = class_errors(scores, classes)
    first, second = (
        CheckedColumn("", np.arange(count), replace_rate(errors, rate, interval), (), ())
        for count, rate, interval in ((60, 0.1, (0.05, 0.14)), (20, 0.2, (0.1, 0.3)))
    )
    rate, low, high = share_of([first, second])
    assert rate == pytest.approx(0.125)
    assert low == pytest.approx(0.125 - np.hypot(0.75 * 0.05, 0.25 * 0.1))
    assert high == pytest.approx(0.125 + np.hypot(0.75 * 0.04, 0.25 * 0.1))


def replace_rate(errors, rate, interval):
    from dataclasses import replace

    return replace(errors, rate=rate, interval=interval)
