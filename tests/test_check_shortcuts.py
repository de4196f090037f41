"""How well properties of files predict labels: by hand, on clean data, and with planted shortcuts."""

import dataclasses

import check_data
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kcomp import targets
from kcomp.check.shortcuts import section as shortcut_section
from kcomp.check.shortcuts.association import areas, associate, bins_of, correlations, permuted_within
from kcomp.check.shortcuts.part import check_shortcuts
from kcomp.check.shortcuts.properties import last_number, properties_of
from kcomp.metrics.significance import holm

TWO = targets.OneOf(("cat", "dog"))


def test_bins():
    assert bins_of(np.array([5.0, 1.0, 5.0, np.nan])).tolist() == [1, 0, 1, 2]
    bins = bins_of(np.arange(1000.0))
    assert np.bincount(bins).tolist() == pytest.approx([1000 / 32] * 32, abs=2)
    assert len(set(bins_of(np.r_[np.zeros(500), np.arange(500.0)]))) == 16  # of the quantiles, 17 are 0


def test_areas_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    labels, bins = random.integers(0, 2, 401), random.integers(0, 4, 401)
    folds = np.arange(401) % 2  # no two bins have equal means
    cells = [[[((folds == f) & (bins == b) & (labels == 1)).sum()] for b in range(4)] for f in range(2)]
    totals = [[[((folds == f) & (bins == b)).sum()] for b in range(4)] for f in range(2)]
    scores, pairs = [], []
    for fold in range(2):
        other, own = folds != fold, folds == fold
        mean = labels[other].mean()
        means = [(labels[other & (bins == b)].sum() + 5 * mean) / ((other & (bins == b)).sum() + 5) for b in range(4)]
        scores.append(roc_auc_score(labels[own], np.array(means)[bins[own]]))
        pairs.append(labels[own].sum() * (1 - labels[own]).sum())
    assert areas(np.array(cells, float), np.array(totals, float))[0] == pytest.approx(np.average(scores, weights=pairs))


def test_correlations_are_those_of_numpy():
    random = np.random.default_rng(0)
    numbers, bins = random.normal(size=60), random.integers(0, 4, 60)
    numbers += bins
    cells = [[bins == b for b in range(4)]]  # one fold has nothing to learn from
    sums = np.array([[[numbers[cell].sum()] for cell in row] for row in cells] * 2)
    totals = np.array([[[float(cell.sum())] for cell in row] for row in cells] * 2)
    squares = np.array([[[(numbers[cell] ** 2).sum()] for cell in row] for row in cells] * 2)
    means = np.array([(numbers[bins == b].sum() + 5 * numbers.mean()) / ((bins == b).sum() + 5) for b in range(4)])
    expected = np.corrcoef(means[bins], numbers)[0, 1]
    assert correlations(sums, totals, squares)[0] == pytest.approx(expected)


def test_permutation_stays_within_folds():
    folds = np.array([1, 0, 1, 0, 0, 1])
    order = permuted_within(folds, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(6))
    assert folds[order].tolist() == folds.tolist()


def test_holm():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_p_values_of_unrelated_values_are_uniform():
    random, p_values = np.random.default_rng(0), []
    labels = np.repeat(np.eye(2), 60, axis=0)
    folds = np.arange(120) % 5
    values = [random.normal(size=120) for _ in range(120)]
    for association in associate(values, labels, folds, is_class=True, permutations=100):
        p_values.append(association.p_values[0])
    assert np.mean(np.array(p_values) < 0.05) <= 0.1
    assert min(p_values) > 1e-4


def test_names_of_files():
    assert [last_number(name) for name in ("a/cat.12.jpg", "b3/007", "im-4-b.png", "x")][:3] == [12.0, 7.0, 4.0]
    assert np.isnan(last_number("x"))
    facts = check_data.plausible_facts(3, path=np.array(["1.JPG", "2.jpg", "3.png"], object))
    properties = {each.name: each.values.tolist() for each in properties_of(facts, ["a", "b", "c"])}
    assert properties["ending"] == [0, 0, 1]
    assert properties["number in the file name"] == [1, 2, 3]


@pytest.mark.parametrize("target", check_data.EVERY_TARGET, ids=lambda target: type(target).__name__)
@pytest.mark.parametrize("rows", [0, 1, 30, 150])
def test_all_targets_and_sizes(target, rows):
    part = check_shortcuts(check_data.data_set(check_data.labelled_table(target, rows, folds=0)))
    assert part.name == "shortcuts" and part.findings == ()


def test_one_class_and_missing_labels():
    table = check_data.labelled_table(TWO, 50, labels=np.eye(2)[np.zeros(50, int)])
    assert "same label" in check_shortcuts(check_data.data_set(table)).section.verdict
    labels = np.full((50, 3), np.nan)
    labels[:40, :2] = np.arange(80).reshape(40, 2) % 3 == 0
    table = check_data.labelled_table(check_data.ANY_OF, 50, labels=labels)
    assert check_shortcuts(check_data.data_set(table)).findings == ()
    table = check_data.labelled_table(check_data.ANY_OF, 50, labels=np.full((50, 3), np.nan))
    assert check_shortcuts(check_data.data_set(table)).findings == ()


def test_arrays_without_files():
    facts = check_data.plausible_facts(60, path=np.full(60, "", object), size_bytes=np.zeros(60, int))
    part = check_shortcuts(check_data.data_set(check_data.labelled_table(TWO, 60), facts=facts))
    assert "file size in bytes" in part.section.paragraphs[-1]  # the same in all images


@pytest.fixture
def without_pictures(monkeypatch):
    """Leave out the picture, which takes long and does not change the findings."""
    monkeypatch.setattr(shortcut_section, "score_plot", lambda *arguments: ("", b""))


@pytest.mark.parametrize("seeds", [12, pytest.param(40, marks=pytest.mark.slow)])
def test_clean_data_gives_no_alarm(without_pictures, seeds):
    alarms = 0
    for seed in range(seeds):
        target = (TWO, check_data.ONE_OF, check_data.ANY_OF, check_data.GRADES)[seed % 4]
        table = check_data.labelled_table(target, (40, 100, 200)[seed % 3], seed=seed)
        alarms += len(check_shortcuts(check_data.data_set(table, seed=seed)).findings)
    assert alarms <= 1


def planted(target, labels, seed, share=1.0, **columns):
    """A data set in which rows of class 0 have other values in columns of the facts."""
    table = check_data.labelled_table(target, len(labels), seed=seed, labels=labels)
    facts = check_data.plausible_facts(len(labels), seed)
    chosen = (table.labels[:, 0] == 1) & (np.random.default_rng(seed).random(len(labels)) < share)
    changed = {name: np.where(chosen, value, getattr(facts, name)) for name, value in columns.items()}
    return check_data.data_set(table, facts=dataclasses.replace(facts, **changed), seed=seed)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
@pytest.mark.parametrize("classes", [2, 10])
def test_another_quality_of_one_class(without_pictures, seed, classes):
    target = targets.OneOf(tuple(f"class {number}" for number in range(classes)))
    labels = np.eye(classes)[np.random.default_rng(seed).permutation(200) % classes]
    [finding] = check_shortcuts(planted(target, labels, seed, quantization=50.0)).findings
    assert (finding.kind, finding.severity) == ("shortcut", "warning")
    assert finding.message.startswith("JPEG quantization alone predicts ")
    if classes > 2:
        assert "'class 0' with a ROC AUC of 1.00" in finding.message
    assert check_shortcuts(planted(target, labels, seed)).findings == ()


def test_other_shortcuts(without_pictures):
    labels = np.eye(2)[np.arange(200) % 2]
    for column, value, name in [
        ("width", 3000, "size in pixels"),
        ("mode", "L", "channels"),
        ("photo_time", 1.0, "EXIF time"),
        ("path", "a.png", "ending"),
    ]:
        [finding] = [
            each
            for each in check_shortcuts(planted(TWO, labels, 0, **{column: value})).findings
            if each.severity == "warning"
        ]
        assert name in finding.message
    assert check_shortcuts(planted(TWO, labels, 0, green=255.0)).findings == ()  # grass or sand
    part = check_shortcuts(planted(TWO, labels, 0, green=255.0))
    assert "colour, green" in part.section.verdict and part.section.good


def test_rows_in_order_are_no_finding(without_pictures):
    labels = np.repeat(np.eye(2), 100, axis=0)
    part = check_shortcuts(check_data.data_set(check_data.labelled_table(TWO, 200, labels=labels)))
    assert part.findings == () and "position in the table" in part.section.verdict
    paths = np.array([f"{row}.jpg" for row in range(200)], object)
    facts = check_data.plausible_facts(200, path=paths)
    [finding] = check_shortcuts(
        check_data.data_set(check_data.labelled_table(TWO, 200, labels=labels), facts=facts)
    ).findings
    assert finding.severity == "note" and "number in the file name" in finding.message


def test_numbers_that_follow_the_size(without_pictures):
    table = check_data.labelled_table(targets.Numbers(("grams",)), 200)
    width = np.rint(table.labels[:, 0] * 10).astype(int)
    facts = check_data.plausible_facts(200, width=width, height=np.full(200, 500))
    part = check_shortcuts(check_data.data_set(table, facts=facts))
    [finding] = part.findings
    assert "'grams' with a rank correlation of 1.00" in finding.message, finding.message


def test_rows_of_a_group_count_once():
    """Sixty groups of 10 rows each have the quality of their camera; that is no evidence for a class."""
    groups = np.arange(600) // 10
    labels = np.eye(2)[groups % 2]
    quality = np.random.default_rng(0).normal(20, 5, 60)[groups]
    facts = check_data.plausible_facts(600, quantization=quality)
    table = check_data.labelled_table(TWO, 600, labels=labels, group=groups.astype(str))
    assert check_shortcuts(check_data.data_set(table, facts=facts)).findings == ()
