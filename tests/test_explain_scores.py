"""Scores, confusion, residuals and calibration of held-out rows, against numbers worked out by hand."""

import explained
import numpy as np
import pytest

from kcomp.explain.errors.galleries import choose_galleries
from kcomp.explain.errors.pictures import describe_row, explained_places
from kcomp.explain.errors.table import error_frame
from kcomp.explain.held_out.outcomes import compute_outcomes
from kcomp.explain.held_out.rows import collect_rows
from kcomp.explain.scores.calibration import (
    calibration_error,
    calibration_part,
    equal_count_bins,
    equal_width_bins,
    measure_calibration,
)
from kcomp.explain.scores.confusion import confused_pairs, confusion_part, count_confusions, worst_class
from kcomp.explain.scores.labels import score_labels
from kcomp.explain.scores.overall import compute_scores, score_part
from kcomp.explain.scores.residuals import measure_residuals
from kcomp.metrics.significance import wilson_interval
from kcomp.targets import AnyOf, Grades, Numbers, OneOf

PETS = OneOf(("cat", "dog", "fox"))


def one_hot(classes):
    return np.eye(3)[classes]


def pets(tmp_path, **options):
    """Six rows: a, b are right cats; c is a cat taken for a dog (0.9); d is a right dog; e, f are foxes, f taken for a cat."""
    predictions = [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.1, 0.9, 0.0],
        [0.2, 0.7, 0.1],
        [0.0, 0.0, 1.0],
        [0.4, 0.3, 0.3],
    ]
    labels = one_hot([0, 0, 0, 1, 2, 2])
    return explained.write_run(
        tmp_path / "run", PETS, list("abcdef"), labels, predictions, metric="accuracy", **options
    )


def outcomes_of(run):
    rows = collect_rows([run] if not isinstance(run, list) else run)
    return rows, compute_outcomes(rows)


def test_one_class_by_hand(tmp_path):
    rows, outcomes = outcomes_of(pets(tmp_path))
    assert rows.problem.startswith("FileNotFoundError") and rows.table is None and rows.paths == [""] * 6
    assert outcomes.correct.tolist() == [1, 1, 0, 1, 1, 0]
    assert outcomes.labels.tolist() == ["cat", "cat", "cat", "dog", "fox", "fox"]
    assert outcomes.predictions.tolist() == ["cat", "cat", "dog", "dog", "fox", "cat"]
    np.testing.assert_allclose(outcomes.loss[:4], -np.log([0.8, 0.6, 0.1, 0.7]), rtol=1e-6)
    np.testing.assert_allclose(outcomes.confidence, [0.8, 0.6, 0.9, 0.7, 1, 0.4], rtol=1e-6)
    matrix = count_confusions(outcomes, 3)
    assert matrix.tolist() == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert confused_pairs(matrix) == [(0, 1), (2, 0)]
    part = confusion_part(rows, outcomes)
    assert part.section.verdict == (
        "4 of 6 rows are right (66.7 %). No class is clearly worse than the others. The most frequent mistake is 'dog' "
        "for 'cat' (1 row)."
    )
    assert [row[:3] for row in part.section.tables[0][1].rows] == [
        ["cat", "3", "66.7 %"],
        ["dog", "1", "100.0 %"],
        ["fox", "2", "50.0 %"],
    ]


def test_errors_csv_has_every_row_the_worst_first(tmp_path):
    rows, outcomes = outcomes_of(pets(tmp_path))
    frame = error_frame(rows, outcomes)
    columns = ["image_id", "fold", "path", "label", "prediction", "correct", "loss", "confidence"]
    assert list(frame.columns) == columns
    assert frame["image_id"].tolist() == ["c", "f", "b", "d", "a", "e"]
    assert frame["correct"].tolist() == [0, 0, 1, 1, 1, 1]
    groups = choose_galleries(rows, outcomes)
    assert [group.caption for group in groups] == [
        "The most confident mistakes (2 wrong rows in all)",
        "The least certain rows",
        "True class 'fox': 1 wrong row",
        "True class 'cat': 1 wrong row",
    ]
    assert groups[0].places.tolist() == [2, 5] and groups[1].places[:2].tolist() == [5, 1]


def test_the_score_has_an_interval_and_names_folds_and_models(tmp_path):
    runs = [
        explained.write_run(
            tmp_path / f"{seed}{fold}",
            PETS,
            ids,
            labels,
            labels * 0.8 + 0.2 / 3,
            metric="accuracy",
            seed=seed,
            fold=fold,
        )
        for seed in (0, 1)
        for fold, ids, labels in ((0, ["a", "b"], one_hot([0, 1])), (1, ["c"], one_hot([2])))
    ]
    rows, outcomes = outcomes_of(runs)
    scores = compute_scores(rows, outcomes)
    assert scores.main.mean == 1 and scores.main.rows == 3
    assert {fold: each.rows for fold, each in scores.folds.items()} == {0: 2, 1: 1}
    assert list(scores.members) == ["r f jax seed 0", "r f jax seed 1"]
    section = score_part(rows, outcomes, scores).section
    assert section.verdict.startswith("accuracy is 1 (95 % interval 0.4385 to 1) on 3 rows")  # 3 / (3 + 1.96 ** 2)
    assert [caption for caption, _ in section.tables][1:] == [
        "accuracy of each fold",
        "accuracy of each model on the rows that it held out",
    ]
    frame = error_frame(rows, outcomes)
    assert list(frame.columns)[-2:] == ["r f jax seed 0", "r f jax seed 1"]
    assert set(frame["r f jax seed 1"]) == {"cat", "dog", "fox"}


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc"])
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_a_model_that_is_worse_than_the_mean_label_is_a_finding(tmp_path, metric, share):
    """Of 30 rows, 15 are cats, 12 dogs and 3 foxes. A share of rows is right, the others get the next class."""
    classes = np.repeat([0, 1, 2], [15, 12, 3])
    decided = np.where(np.arange(30) % 10 < 10 * share, classes, (classes + 1) % 3)
    ids = [f"i{place:02}" for place in range(30)]
    predictions = 0.1 + 0.7 * one_hot(decided)
    run = explained.write_run(tmp_path / "run", PETS, ids, one_hot(classes), predictions, metric=metric)
    rows, outcomes = outcomes_of(run)
    findings = score_part(rows, outcomes, compute_scores(rows, outcomes)).findings
    assert [each.severity for each in findings] == (["warning"] if share == 0 else [])
    if findings and metric == "accuracy":
        assert "accuracy is 0, and 0.5 if every prediction is the mean label" in findings[0].message
        assert "learned nothing" in findings[0].message


def test_one_row_has_no_bootstrap_interval(tmp_path):
    run = explained.write_run(tmp_path / "run", Numbers(("grams",), (0.0,), (1.0,)), ["a"], [[1]], [[3]], metric="mae")
    rows, outcomes = outcomes_of(run)
    scores = compute_scores(rows, outcomes)
    assert scores.main.mean == 2 and np.isnan(scores.main.low)
    assert score_part(rows, outcomes, scores).section.verdict.startswith("mae is 2 on 1 row that")


def test_models_that_held_out_different_rows_are_averaged_where_they_overlap(tmp_path):
    first = explained.write_run(tmp_path / "0", PETS, ["a", "b"], one_hot([0, 1]), one_hot([0, 1]), metric="accuracy")
    second = explained.write_run(
        tmp_path / "1", PETS, ["b", "c"], one_hot([1, 2]), one_hot([0, 2]), metric="accuracy", seed=1, fold=3
    )
    rows = collect_rows([second, first])
    assert list(rows.ids) == ["a", "b", "c"] and rows.folds.tolist() == [0, 0, 3]
    assert rows.predictions.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]
    assert rows.held_out_by.tolist() == [[True, True, False], [False, True, True]]


@pytest.mark.parametrize("name", ["oof", "labels"])
def test_files_that_lack_rows_are_an_error(tmp_path, name):
    run = pets(tmp_path)
    path = next(tmp_path.rglob(f"{name}.csv"))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(ValueError, match=r"oof.csv and labels.csv must have the same rows; .* differ in 2, first '"):
        outcomes_of(run)


def test_several_labels_by_hand(tmp_path):
    target = AnyOf(("rust", "scab"))
    labels = [[1, 0], [1, 1], [0, 0], [0, np.nan], [np.nan, np.nan]]
    predictions = [[0.9, 0.2], [0.4, 0.6], [0.7, 0.1], [0.1, 0.5], [0.5, 0.5]]
    run = explained.write_run(tmp_path / "run", target, list("abcde"), labels, predictions, metric="roc_auc")
    rows, outcomes = outcomes_of(run)
    assert outcomes.fitted is None
    assert outcomes.correct[:4].tolist() == [1, 0, 0, 1] and np.isnan(outcomes.correct[4])
    assert outcomes.labels.tolist() == ["rust", "rust;scab", "none", "none", "none"]
    rust, scab = score_labels(rows, outcomes)
    assert (rust.rows, rust.positive, rust.precision, rust.recall, rust.f1) == (4, 2, 0.5, 0.5, 0.5)
    assert rust.auc == 0.75  # of the four pairs, only 0.4 against 0.7 is in the wrong order
    assert (scab.rows, scab.positive, scab.f1, scab.threshold) == (3, 1, 1, 0.5)
    frame = error_frame(rows, outcomes).set_index("image_id")
    assert frame.loc[["b", "c", "a"], "wrong_labels"].tolist() == ["rust", "rust", ""]
    assert frame["correct"].isna().tolist() == [False] * 4 + [True]
    assert calibration_part(rows, outcomes) is not None


def test_the_least_certain_label_of_a_row_is_shown(tmp_path):
    """Row a: scab is wrong by 0.8 and certain, rust is uncertain. Row b is certain of both labels."""
    target = AnyOf(("rust", "scab"))
    run = explained.write_run(
        tmp_path / "run", target, ["a", "b"], [[1, 0], [1, 0]], [[0.55, 0.8], [0.85, 0.1]], metric="roc_auc"
    )
    rows, outcomes = outcomes_of(run)
    gallery = next(group for group in choose_galleries(rows, outcomes) if group.caption == "The least certain rows")
    assert explained_places(gallery, rows, outcomes) == [(0, 0), (1, 0)]
    assert describe_row(rows, outcomes, (0, 0))[3] == "rust: 0.55"


def test_numbers_by_hand(tmp_path):
    target = Numbers(("grams",), (10.0,), (2.0,))
    run = explained.write_run(
        tmp_path / "run", target, list("abc"), [[10], [12], [np.nan]], [[11], [8], [9]], metric="mae"
    )
    rows, outcomes = outcomes_of(run)
    assert outcomes.loss[:2].tolist() == [0.5, 2] and np.isnan(outcomes.loss[2])
    residuals = measure_residuals("grams", rows.labels[:, 0], rows.predictions[:, 0])
    assert (residuals.rows, residuals.mae, residuals.bias) == (2, 2.5, -1.5)
    frame = error_frame(rows, outcomes)
    assert frame["image_id"].tolist() == ["b", "a", "c"] and frame["residual"].tolist()[:2] == [-4, 1]
    assert calibration_part(rows, outcomes) is None
    assert choose_galleries(rows, outcomes)[0].places.tolist() == [1, 0]


def test_grades_use_cut_points_of_other_folds(tmp_path):
    """Predictions are 0.1 and 0.4: the nearest level is always mild, and fitted cut points are always right."""
    target = Grades(("mild", "severe"))
    ids = [f"r{place:02}" for place in range(40)]
    labels = np.arange(40) // 2 % 2  # both folds need both grades
    runs = [
        explained.write_run(
            tmp_path / f"b{fold}",
            target,
            ids[fold::2],
            labels[fold::2, None],
            0.1 + 0.3 * labels[fold::2, None],
            metric="accuracy",
            fold=fold,
        )
        for fold in (0, 1)
    ]
    rows, outcomes = outcomes_of(runs)
    assert outcomes.correct.all() and outcomes.fitted is not None
    assert (rows.target.decide(rows.predictions) == 0).all()
    assert compute_scores(rows, outcomes).main.mean == 1


def test_the_calibration_error_by_hand():
    """Two bins: confidence 0.65 on average with 1 of 2 right, and 0.95 with 2 of 2 right."""
    confidence, right = np.array([0.61, 0.69, 0.94, 0.96]), np.array([1.0, 0, 1, 1])
    bins = equal_width_bins(confidence, 10)
    assert bins.tolist() == [6, 6, 9, 9]
    assert calibration_error(confidence, right, bins) == pytest.approx((2 * 0.15 + 2 * 0.05) / 4)
    assert equal_width_bins(np.array([0.0, 0.2, 0.21, 1.0]), 5).tolist() == [0, 0, 1, 4]
    assert equal_count_bins(np.array([0.9, 0.1, 0.5, 0.7]), 2).tolist() == [1, 0, 0, 1]


def test_calibrated_probabilities_pass_and_too_sure_ones_do_not():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 4000)
    right = (random.random(4000) < confidence).astype(float)
    columns = np.zeros(4000, int)
    assert measure_calibration(confidence, right, columns).is_calibrated
    sure = measure_calibration(np.sqrt(confidence), right, columns)
    assert not sure.is_calibrated and sure.confidence > sure.right
    assert sure.error == pytest.approx((np.sqrt(confidence) - confidence).mean(), abs=0.02)


def test_the_interval_of_a_share():
    """Wilson's interval of 8 of 10, from the published formula."""
    interval = wilson_interval(8, 10)
    assert (interval.low, interval.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert np.isnan(wilson_interval(0, 0).mean)


def test_the_worst_class_must_be_clearly_worse():
    shares = [wilson_interval(90, 100), wilson_interval(60, 100), wilson_interval(0, 5)]
    assert worst_class(shares, 0.75) == 1
    assert worst_class(shares, 0.62) is None
