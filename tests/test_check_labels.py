"""Balance, rare classes, labels that occur together, odd numbers and spellings."""

import check_data
import numpy as np
import pandas as pd
import pytest

from kcomp import data, targets
from kcomp.check.labels.part import check_labels
from kcomp.check.labels.spellings import similar_names
from kcomp.check.labels.values import beyond_gap, far_values, missing_code
from kcomp.system.notices import record_notices


def found_kinds(part):
    return [finding.kind for finding in part.findings]


def cells(part, caption):
    return next(table.rows for name, table in part.section.tables if name == caption)


def with_counts(counts, folds=2):
    """A table of one class with the counts of each class."""
    target = targets.OneOf(tuple(f"class {number}" for number in range(len(counts))))
    labels = np.repeat(np.eye(len(counts)), counts, axis=0)
    table = check_data.labelled_table(target, len(labels), folds=0, labels=labels)
    return data.stratified_folds(table, folds) if folds else table


@pytest.mark.parametrize("target", check_data.EVERY_TARGET, ids=lambda target: type(target).__name__)
@pytest.mark.parametrize("rows", [0, 1, 60])
def test_all_targets_and_sizes(target, rows):
    table = check_data.labelled_table(target, rows, folds=3 if rows == 60 else 0)
    part = check_labels(check_data.data_set(table))
    assert part.name == "labels" and part.section.verdict
    assert part.numbers["rows"] == rows
    if rows == 60:
        assert part.findings == () and part.section.good


def test_balance():
    part = check_labels(check_data.data_set(with_counts([6, 4, 10])))
    assert cells(part, "Rows of each class") == [
        ["class 2", "10", "50.0 %"],
        ["class 0", "6", "30.0 %"],
        ["class 1", "4", "20.0 %"],
    ]
    assert part.numbers["rows_of_classes"] == {"class 0": 6, "class 1": 4, "class 2": 10}
    assert "2.5 times" in part.section.paragraphs[0]
    assert part.findings == ()


@pytest.mark.filterwarnings("ignore::kcomp.system.notices.Notice")
def test_rare_classes():
    table = with_counts([6, 1, 6, 0], folds=2)
    [finding] = check_labels(check_data.data_set(table)).findings
    assert (finding.kind, finding.severity) == ("rare-class", "warning")
    assert finding.message == "2 classes have too few rows (there are 2 folds): 'class 1' (1), 'class 3' (0)"
    assert finding.image_ids == ("row00006",)


def test_a_class_without_training_rows_in_a_fold():
    table = with_counts([5, 5], folds=0)
    frame = table.frame.assign(fold=[0, 1, 0, 1, 0, 1, 1, 1, 1, 1])
    [finding] = check_labels(check_data.data_set(data.Table(frame, table.target))).findings
    assert finding.message == "1 class has held-out rows but no training row in a fold: 'class 1'"
    assert len(finding.image_ids) == 5


def test_repeated_folds_do_not_make_a_class_rare():
    table = data.stratified_folds(with_counts([3, 3], folds=0), 3, repeats=3)
    assert check_labels(check_data.data_set(table)).findings == ()


def test_labels_that_occur_together():
    labels = np.array([[1, 1, 0]] * 5 + [[0, 0, 1]] * 5)
    part = check_labels(check_data.data_set(check_data.labelled_table(check_data.ANY_OF, 10, labels=labels)))
    assert cells(part, "Labels of a row") == [["1 label", "5"], ["2 labels", "5"]]
    # by chance 10 * 0.5 * 0.5 rows have two given labels, with a variance of 10 * 0.25 * 0.25 / ... = 2.5 * 0.25
    first = cells(part, "Labels that occur together")[0]
    assert first == ["rust", "scab", "5", "2.5", f"{2.5 / np.sqrt(2.5 * 0.25):+.1f}"]


def test_missing_and_soft_labels():
    labels = np.full((20, 3), 0.4)
    labels[:, 0], labels[3] = 0.9, np.nan
    part = check_labels(check_data.data_set(check_data.labelled_table(check_data.ANY_OF, 20, labels=labels, folds=2)))
    assert part.numbers["rows_of_classes"] == {"rust": 19, "scab": 0, "spot": 0}
    assert part.numbers["missing_labels"] == 3


def test_a_thousand_classes():
    table = check_data.labelled_table(targets.OneOf(tuple(f"c{n}" for n in range(1000))), 5000, folds=0)
    assert check_labels(check_data.data_set(table)).findings == ()


NORMAL = np.random.default_rng(0).normal(50, 10, 200)


@pytest.mark.parametrize("code", [-1.0, 999.0, -999.0])
def test_codes_for_missing_numbers(code):
    values = NORMAL.copy()
    values[[3, 8]] = code
    odd = missing_code(values)
    assert np.flatnonzero(odd.rows).tolist() == [3, 8]
    table = check_data.labelled_table(targets.Numbers(("grams",)), 200, labels=values)
    [finding] = check_labels(check_data.data_set(table)).findings
    assert (finding.kind, finding.image_ids) == ("outlier", ("row00003", "row00008"))
    assert f"2 rows have {code:g}" in finding.message


def test_a_usual_value_is_no_code():
    assert missing_code(np.repeat([97.0, 98.0, 99.0, 100.0], 5)) is None
    assert missing_code(np.repeat([-2.0, -1.0, 0.0, 1.0], 5)) is None
    assert missing_code(np.array([90.0, 99.0, 99.0])) is None


def test_values_beyond_a_gap():
    assert beyond_gap(np.array([1.0, 2.0, 3.0, 4.9])).tolist() == [False, False, False, False]  # 1.9 < 2
    assert beyond_gap(np.array([5.1, 2.0, 3.0, 1.0])).tolist() == [True, False, False, False]  # 2.1 > 2
    assert beyond_gap(np.array([-3.0, 2.0, 3.0, 1.0])).tolist() == [True, False, False, False]
    values = NORMAL.copy()
    values[5] *= 100
    assert np.flatnonzero(far_values(values).rows).tolist() == [5]


def test_clean_numbers_have_few_far_values():
    random = np.random.default_rng(1)
    draws = {
        "normal": lambda: random.normal(size=300),
        "exponential": lambda: random.exponential(size=300),
        "lognormal": lambda: random.lognormal(0, 1.5, 300),
        "uniform": lambda: random.uniform(size=300),
        "counts": lambda: random.poisson(2, 300).astype(float),
    }
    for name, draw in draws.items():
        alarms = sum(far_values(draw()) is not None for _ in range(200))
        assert alarms <= 4, (name, alarms)  # 200 / 300 are expected at most


def test_spellings_that_are_different_classes():
    def groups(*names):
        return similar_names(targets.OneOf(names))

    assert groups("Rust", "rust", "scab") == [["Rust", "rust"]]
    assert groups("red fox", "red  fox", "red_fox") == [["red fox", "red  fox", "red_fox"]]
    assert groups("caf\u00e9", "cafe\u0301") == [["caf\u00e9", "cafe\u0301"]]
    assert groups("\uff32ust", "rust") == [["\uff32ust", "rust"]]  # a wide letter
    assert groups("a", "A") == groups("1-0", "10") == groups("rust", "trust") == []
    assert similar_names(targets.Grades(("Mild", "mild"))) == [["Mild", "mild"]]
    assert similar_names(check_data.NUMBERS) == []


def test_spellings_that_reading_joined(tmp_path):
    import cv2

    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    names = ["rust", "Rust", "rust", "scab"]
    pd.DataFrame({"image_id": range(4), "label": names}).to_csv(tmp_path / "train.csv", index=False)
    with pytest.warns(match="joined the spellings"), record_notices() as notices:
        table = data.read_csv(tmp_path / "train.csv", images=tmp_path, label="label")
    part = check_labels(check_data.data_set(table, notices=tuple(notices)))
    [finding] = [finding for finding in part.findings if finding.kind == "label-spelling"]
    text = f"joined the spellings 'Rust' (1), 'rust' (2) as 'rust'; write one spelling in {tmp_path}/train.csv, label"
    assert finding.message == f"kcomp {text}" and finding.severity == "warning"
    assert f"Kcomp {text}" in part.section.verdict  # a verdict begins with a capital letter, but a path does not change


def test_recording_notices_nests():
    from kcomp.system.notices import notice

    with pytest.warns(match="one|two"), record_notices() as outer:
        with record_notices() as inner:
            notice("one")
        notice("two")
    assert (outer, inner) == (["one", "two"], ["one"])


def test_classes_that_are_numbers():
    part = check_labels(check_data.data_set(check_data.labelled_table(targets.OneOf(("1", "2.5")), 20)))
    assert any("All 2 classes are numbers" in text for text in part.section.paragraphs)
    part = check_labels(check_data.data_set(check_data.labelled_table(targets.Grades(("1", "2")), 20)))
    assert not any("are numbers" in text for text in part.section.paragraphs)
