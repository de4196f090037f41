"""What folds have, the noise of scores, and advice about splits."""

import dataclasses
import time

import check_data
import numpy as np
import pytest
from scipy import stats

from kcomp import data, metrics, targets
from kcomp.check.folds.part import check_folds
from kcomp.check.folds.score_noise import accuracy_noise, score_noise, signal_of, simulate

TWO = targets.OneOf(("cat", "dog"))


def with_folds(table, folds):
    return data.Table(table.frame.assign(fold=folds), table.target)


@pytest.mark.parametrize("target", check_data.EVERY_TARGET, ids=lambda target: type(target).__name__)
@pytest.mark.parametrize("rows", [0, 1, 90])
def test_all_targets_and_sizes(target, rows):
    table = check_data.labelled_table(target, rows, folds=3 if rows == 90 else 0)
    part = check_folds(check_data.data_set(table))
    assert part.name == "folds" and part.section.verdict
    if rows == 90:
        assert part.findings == () and part.numbers["rows"] == {"0": 30, "1": 30, "2": 30}
        assert part.numbers["smallest_difference"] > 0
    else:
        assert part.numbers == {}


def test_what_folds_have():
    labels = np.eye(2)[[0] * 12 + [1] * 28]
    table = with_folds(check_data.labelled_table(TWO, 40, labels=labels), [0, 1] * 20)
    part = check_folds(check_data.data_set(table, metric=metrics.accuracy))
    noise = 1.96 * (0.9 * 0.1 / 20) ** 0.5
    assert part.section.tables[0][1].rows == [
        ["0", "20", "20", "2", "cat (6)", f"±{noise:.2g}"],
        ["1", "20", "20", "2", "cat (6)", f"±{noise:.2g}"],
    ]
    assert part.numbers["standard_error"] == pytest.approx((0.9 * 0.1 / 40) ** 0.5)


def test_groups_are_counted():
    table = check_data.labelled_table(TWO, 40, folds=2, group=[str(row // 4) for row in range(40)])
    table = data.stratified_folds(table, 2)
    part = check_folds(check_data.data_set(table))
    assert [row[3] for row in part.section.tables[0][1].rows] == ["5", "5"]
    assert any("10 groups" in text for text in part.section.paragraphs)


def test_folds_in_order_train_on_earlier_rows():
    table = check_data.labelled_table(TWO, 60, folds=0, year=range(60))
    part = check_folds(check_data.data_set(data.time_folds(table, "year", 2)))
    assert [row[1:3] for row in part.section.tables[0][1].rows] == [["20", "20"], ["20", "40"]]
    assert part.numbers["noise_rows"] == 40  # the first rows are never held out


@pytest.mark.parametrize("sizes, severity", [((51, 9), "warning"), ((100, 20), "warning"), ((9, 9), "note")])
def test_small_folds(sizes, severity):
    folds = np.repeat([0, 1], sizes)
    table = with_folds(check_data.labelled_table(TWO, len(folds)), folds)
    [finding] = check_folds(check_data.data_set(table)).findings
    assert (finding.kind, finding.severity) == ("small-fold", severity)
    assert f"fold 1 ({sizes[1]} rows)" in finding.message and f"have {np.mean(sizes):.3g} on average" in finding.message


def test_folds_of_usual_sizes():
    for sizes in ((60, 30), (10, 10), (12, 13)):
        table = with_folds(check_data.labelled_table(TWO, sum(sizes)), np.repeat([0, 1], sizes))
        assert check_folds(check_data.data_set(table)).findings == ()


def test_noise_of_accuracy():
    noise = accuracy_noise(1000)
    assert noise.deviation == pytest.approx(0.00948683)  # sqrt(0.9 * 0.1 / 1000)
    # each model alone is right in 5 % of the rows, so the difference of a row has the variance 0.1
    assert noise.difference == pytest.approx(1.96 * (0.1 / 1000) ** 0.5)
    assert noise.at(4000).deviation == pytest.approx(noise.deviation / 2)
    same = score_noise(metrics.accuracy, TWO, np.eye(2)[np.zeros(1000, int)])
    assert same == noise


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_simulated_classes_have_the_typical_accuracy(classes):
    random, rows = np.random.default_rng(0), 4000 if classes < 1000 else 1000
    target = targets.OneOf(tuple(map(str, range(classes))))
    labels = np.eye(classes)[random.integers(0, classes, rows)]
    predictions = simulate(target, labels, random.normal(size=labels.shape), labels)
    assert metrics.accuracy(labels, predictions, target) == pytest.approx(0.9, abs=0.03)
    # calibrated: the mean probability of the predicted class is the accuracy
    assert predictions.max(1).mean() == pytest.approx(0.9, abs=0.03)


def test_signal_of_two_classes():
    # the difference of two logits is normal with the variance 2
    assert signal_of(2) == pytest.approx(2**0.5 * stats.norm.ppf(0.9), abs=1e-3)


def test_simulated_labels_and_numbers_have_the_typical_scores():
    random = np.random.default_rng(0)
    labels = (random.random((5000, 2)) < 0.3).astype(float)
    labels[:10] = np.nan
    target = targets.AnyOf(("a", "b"))
    predictions = simulate(target, labels, random.normal(size=labels.shape), labels)
    assert metrics.roc_auc(labels, predictions, target) == pytest.approx(0.9, abs=0.02)
    assert predictions.mean() == pytest.approx(0.3, abs=0.02)  # calibrated
    numbers = random.normal(50, 10, (5000, 1))
    predictions = simulate(targets.Numbers(("grams",)), numbers, random.normal(size=numbers.shape), numbers)
    assert metrics.r2(numbers, predictions) == pytest.approx(0.75, abs=0.02)


def test_simulated_noise_agrees_with_a_closed_form():
    """The log loss has no closed form, but the mean absolute error of numbers has: |N(0, s)| / sqrt(rows)."""
    labels = np.random.default_rng(0).normal(0, 1, (900, 1))
    noise = score_noise(metrics.mae, targets.Numbers(("grams",)), labels)
    deviation = (1 - 0.75) ** 0.5 * (1 - 2 / np.pi) ** 0.5 / 30
    assert noise.score == pytest.approx(0.5 * (2 / np.pi) ** 0.5, rel=0.05)
    assert noise.deviation == pytest.approx(deviation, rel=0.25)
    assert noise.rows == 900
    # two models with errors of correlation 1/2 differ less than two independent ones
    assert noise.deviation < noise.difference < 1.96 * 2**0.5 * noise.deviation * 1.3


def broken(labels, predictions):
    raise ValueError("no score")


def test_a_metric_that_cannot_be_simulated():
    part = check_folds(check_data.data_set(check_data.labelled_table(TWO, 60), metric=metrics.get(broken)))
    assert "noise of broken cannot be simulated" in part.section.paragraphs[0]


def advice(table, **parts):
    return " ".join(check_folds(check_data.data_set(table, **parts)).numbers["advice"])


def test_advice():
    clean = data.stratified_folds(check_data.labelled_table(TWO, 600), 5)
    assert advice(clean) == ""
    assert "more folds and repeated folds" in advice(data.stratified_folds(check_data.labelled_table(TWO, 100), 5))
    facts = check_data.plausible_facts(600)
    facts.pixels_hash[1:3] = facts.pixels_hash[0]
    crossing = with_folds(clean, [0, 1, 2] * 200)
    assert "1 images occur in several folds" in advice(crossing, facts=facts)
    grouped = data.folds(check_data.labelled_table(TWO, 600, group=["a", "b"] * 300), 3, allow_crossing=True)
    assert "2 of 2 groups are in several folds" in advice(grouped)
    unequal = with_folds(check_data.labelled_table(TWO, 600, labels=np.eye(2)[[0, 1] * 300]), [0, 1] * 300)
    assert "by more than chance (up to 100 %)" in advice(unequal)


def test_advice_of_later_test_rows():
    table = data.stratified_folds(check_data.labelled_table(TWO, 600), 5)
    facts = check_data.plausible_facts(600)
    later = dataclasses.replace(facts, photo_time=facts.photo_time + 400 * check_data.DAY)
    test = check_data.unlabelled_table(600)
    assert "time_folds" in advice(table, facts=facts, test=test, test_facts=later)
    assert advice(table, facts=facts, test=test, test_facts=facts) == ""


@pytest.mark.parametrize("target", check_data.EVERY_TARGET, ids=lambda target: type(target).__name__)
def test_ten_thousand_rows_are_fast(target):
    data_set = check_data.data_set(check_data.labelled_table(target, 10_000))
    check_folds(check_data.data_set(check_data.labelled_table(target, 100)))  # imports
    times = []
    for _ in range(3):
        start = time.process_time()
        check_folds(data_set)
        times.append(time.process_time() - start)
    assert min(times) < 0.5  # 0.2 on a quiet machine
