"""Verdicts of `kcomp explain`: none reassures about bad models, and each names the cause that the numbers show."""

import explained
import numpy as np
import pytest

from kcomp.explain.held_out.outcomes import compute_outcomes
from kcomp.explain.held_out.rows import collect_rows
from kcomp.explain.run import class_part
from kcomp.explain.scores.baseline import baseline_findings
from kcomp.explain.scores.calibration import Calibration, calibration_verdict, exact_interval, measure_calibration
from kcomp.explain.scores.overall import Scores, compute_scores, score_part, score_rows
from kcomp.explain.scores.thresholds import threshold_findings
from kcomp.explain.summary import summary_part
from kcomp.runs.folder import Run
from kcomp.targets import AnyOf, Grades, OneOf


def outcomes_of(run):
    rows = collect_rows([run])
    return rows, compute_outcomes(rows)


def many_rows(tmp_path, target, labels, predictions, metric):
    labels, predictions = np.asarray(labels, float), np.asarray(predictions, float)
    ids = [f"i{place:03}" for place in range(len(labels))]
    return explained.write_run(tmp_path / "run", target, ids, labels, predictions, metric=metric)


def first_words(run):
    """The verdict of the summary after the score, from the parts that need no images."""
    rows, outcomes = outcomes_of(run)
    metric = rows.scorer.metric
    scores = Scores({metric.name: score_rows(rows, outcomes, metric, np.ones(len(rows), bool))}, {}, {})
    parts = [score_part(rows, outcomes, scores), class_part(rows, outcomes)]
    return summary_part(rows, scores, parts).section.verdict.split("). ", 1)[1]


def test_a_page_never_reassures_about_random_predictions(tmp_path):
    """Random probabilities, metrics with and without thresholds, and few or more rows: chance explains the score."""
    random, target = np.random.default_rng(1), AnyOf(("rust", "scab"))
    for count in (12, 60):
        for metric in ("roc_auc", "log_loss", "macro_f1", "average_precision")[:: 2 if count == 12 else 1]:
            labels = random.random((count, 2)) < 0.4
            run = many_rows(tmp_path / f"{count}{metric}", target, labels, random.random((count, 2)), metric)
            words = first_words(run)
            assert metric in words and ("learned nothing" in words or "chance may explain" in words), words


def test_thresholds_are_named_where_probabilities_order_the_rows(tmp_path):
    """All probabilities are below 0.5, so no label is predicted, and the ROC AUC is 1."""
    target, labels = AnyOf(("rust", "scab")), np.arange(80).reshape(40, 2) % 3 == 0
    probabilities = 0.1 + 0.3 * labels + np.linspace(0, 0.05, 80).reshape(40, 2)
    words = first_words(many_rows(tmp_path, target, labels, probabilities, "roc_auc"))
    assert words.startswith(
        "Many rows are wrong because of the thresholds: with the threshold 0.5, macro_f1 is 0, and 1 "
    )
    assert "with thresholds that are fitted to other rows. roc_auc does not depend on thresholds" in words
    [finding] = threshold_findings(*outcomes_of(Run(tmp_path / "run")))
    assert (finding.kind, finding.severity) == ("thresholds", "note")


def test_good_thresholds_are_no_finding(tmp_path):
    random, target = np.random.default_rng(0), AnyOf(("rust", "scab"))
    labels = random.random((80, 2)) < 0.4
    for metric in ("macro_f1", "roc_auc"):
        run = many_rows(tmp_path / metric, target, labels, 0.1 + 0.7 * labels + 0.2 * random.random((80, 2)), metric)
        assert threshold_findings(*outcomes_of(run)) == ()
        assert first_words(run) == "No weakness stands out beyond chance, but 80 rows can only show large ones."


def test_cut_points_of_grades_are_compared(tmp_path):
    """Predictions are a tenth of the grade, so the nearest grade is always the lowest."""
    target, labels = Grades(("mild", "severe", "worst")), np.arange(60)[:, None] % 3
    run = many_rows(tmp_path, target, labels, labels / 10 + np.linspace(0, 0.01, 60)[:, None], "mae")
    rows, outcomes = outcomes_of(run)
    [finding] = threshold_findings(rows, outcomes)
    assert "with the nearest grade, quadratic_kappa is 0, and 1 with cut points that are fitted to" in finding.message
    [finding] = baseline_findings(rows, outcomes, compute_scores(rows, outcomes).metrics)
    assert "and 0.6667 if every prediction is the mean label" in finding.message  # two thirds of the labels are 1 away
    assert "But the models learned something: predictions follow the labels (rank correlation" in finding.message


def test_a_bad_scale_of_probabilities_is_named(tmp_path):
    """All rows are ordered right, but the probabilities of the true class are tiny."""
    labels = np.eye(2)[np.arange(40) % 2]
    first = np.where(labels[:, 0] == 1, 0.99, 0.9) + np.linspace(0, 0.005, 40)
    run = many_rows(tmp_path, OneOf(("cat", "dog")), labels, np.stack([first, 1 - first], 1), "log_loss")
    rows, outcomes = outcomes_of(run)
    [finding] = baseline_findings(rows, outcomes, compute_scores(rows, outcomes).metrics)
    assert "log_loss is " in finding.message and "roc_auc is 1 (95 % interval 1 to 1)" in finding.message
    assert "kcomp ensemble --calibrate corrects this" in finding.message


def test_a_bin_that_excludes_its_confidence_is_not_calibrated():
    """The verdict agrees with the picture: of 200 rows with confidence 0.95, 160 are right; the others agree exactly."""
    confidence, right = (
        np.repeat([0.95, 0.5], [200, 2800]),
        np.r_[np.arange(200) >= 40, np.arange(2800) % 2].astype(float),
    )
    measured = measure_calibration(confidence, right, np.zeros(3000, int))
    assert measured.error == pytest.approx(0.15 * 200 / 3000) and measured.error < measured.limit
    assert not measured.is_calibrated
    text = calibration_verdict(measured, single=True)
    assert text.startswith(
        "The probabilities are not calibrated: some are too high. At a confidence of about 95.0 %, 80.0 % "
    )


def test_the_verdict_if_only_the_mean_error_is_too_large():
    """The error is above the limit, but the interval 0.4 to 0.65 includes the mean confidence 0.6."""
    measured = Calibration(0.1, 0.1, 0.01, 0.02, 0.6, 0.5, np.array([[0.6, 0.5, 0.4, 0.65, 20]]))
    assert calibration_verdict(measured, single=False) == (
        "The probabilities of labels are too high: their mean is 60.0 %, and 50.0 % of the labels are present. "
        "kcomp ensemble --calibrate corrects this, which improves log loss."
    )
    assert calibration_verdict(measured, single=True).startswith("The models are too confident: their mean confidence")


def test_calibrated_probabilities_are_rarely_called_uncalibrated():
    """Each of the two tests fails in 2.5 % of the cases; 60 simulated models of 300 rows."""
    alarms = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        confidence = random.uniform(0.02, 1, 300)
        right = (random.random(300) < confidence).astype(float)
        alarms += not measure_calibration(confidence, right, np.zeros(300, int), seed=seed).is_calibrated
    assert alarms <= 8  # at 5 %, more have a probability of 0.003


def test_the_exact_interval_by_hand():
    """Of 10 cases, 0 are right: the upper end u has (1 - u) ** 10 = 0.025."""
    assert exact_interval(0, 10, 0.95) == (0.0, pytest.approx(1 - 0.025**0.1))
