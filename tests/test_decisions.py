"""Thresholds and cut points against an exhaustive search, and their nested score."""

import itertools
import json

import numpy as np
import pytest
from test_metrics import ANY, GRADES, ONE

from kcomp import metrics
from kcomp.metrics.decisions import CutPoints, Thresholds, fit_decisions, from_json, nested_score


def noise(seed, rows, columns):
    draws = np.random.default_rng(seed)
    return (draws.random((rows, columns)) < 0.3).astype(float), draws.random((rows, columns)).round(2)


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_thresholds_are_the_best_of_all(beta, average):
    labels, predictions = noise(1, 25, 2)
    labels[3, 0] = np.nan
    metric = metrics.f_beta(beta, average=average)
    tries = itertools.product(*([*np.unique(column), 1.1] for column in predictions.T))
    best = max(metric(labels, predictions, ANY, Thresholds(values)) for values in tries)
    fitted = Thresholds.fit(labels, predictions, metric)
    assert metric(labels, predictions, ANY, fitted) == pytest.approx(best)


@pytest.mark.parametrize("metric", [metrics.micro_f1, metrics.samples_f1, metrics.matthews, metrics.accuracy])
def test_thresholds_of_other_metrics_gain(metric):
    labels, predictions = noise(2, 60, 3)
    start = Thresholds.fit(labels, predictions, metrics.macro_f1)
    fitted = Thresholds.fit(labels, predictions, metric)
    assert metric(labels, predictions, ANY, fitted) >= metric(labels, predictions, ANY, start)
    for label, choice in itertools.product(range(3), np.arange(0, 1, 0.05)):  # no single threshold gains
        other = Thresholds((*fitted.values[:label], choice, *fitted.values[label + 1 :]))
        assert metric(labels, predictions, ANY, other) <= metric(labels, predictions, ANY, fitted) + 1e-9


def test_a_label_without_positives_keeps_one_half():
    assert Thresholds.fit(np.zeros((4, 1)), np.full((4, 1), 0.7), metrics.macro_f1).values == (0.5,)


def test_cut_points_find_shifted_grades():
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 5, (400, 1)).astype(float)
    predictions = labels / 2 + 0.3 + draws.uniform(-0.2, 0.2, (400, 1))
    assert metrics.quadratic_kappa(labels, predictions, GRADES) < 0.7
    fitted = CutPoints.fit(labels, predictions, metrics.quadratic_kappa)
    assert metrics.quadratic_kappa(labels, predictions, GRADES, fitted) == pytest.approx(1)
    assert np.allclose(fitted.values, [0.55, 1.05, 1.55, 2.05], atol=0.06)
    assert CutPoints.fit(labels, predictions, metrics.quadratic_kappa) == fitted


def test_cut_points_reach_the_best_of_all_on_few_rows():
    draws = np.random.default_rng(5)
    labels = draws.integers(0, 3, (30, 1)).astype(float)
    predictions = labels + draws.normal(0, 1, (30, 1))
    points = np.concatenate([[-9], np.sort(predictions[:, 0]) + 1e-9])
    kappa = metrics.quadratic_kappa
    best = max(kappa(labels, predictions, GRADES, CutPoints(pair)) for pair in itertools.combinations(points, 2))
    assert kappa(labels, predictions, GRADES, CutPoints.fit(labels, predictions, kappa)) > best - 0.02


def test_cut_points_of_a_grade_without_rows():
    labels, predictions = np.array([[0.0], [0], [2], [2]]), np.array([[0.1], [0.2], [0.8], [0.9]])
    fitted = CutPoints.fit(labels, predictions, metrics.accuracy)
    assert fitted.apply(predictions).tolist() == [0, 0, 2, 2]
    assert len(CutPoints.fit(labels, predictions, metrics.accuracy, levels=5).values) == 4


def test_nested_folds_do_not_report_what_thresholds_gain_on_their_own_rows():
    """The predictions are noise above 0.5: marking every label present cannot be improved on new rows."""
    draws = np.random.default_rng(0)
    labels, predictions = (draws.random((40, 6)) < 0.3).astype(float), draws.uniform(0.5, 1, (40, 6))
    plain = metrics.macro_f1(labels, predictions, ANY)
    tuned = metrics.macro_f1(labels, predictions, ANY, Thresholds.fit(labels, predictions, metrics.macro_f1))
    nested = nested_score(labels, predictions, np.arange(40) % 5, metrics.macro_f1, ANY)
    assert tuned > plain + 0.02 and nested <= plain


def test_nested_folds_do_not_report_what_cut_points_gain_on_their_own_rows():
    draws = np.random.default_rng(0)
    labels, predictions = draws.integers(0, 5, (60, 1)).astype(float), draws.uniform(-0.5, 4.5, (60, 1))
    kappa = metrics.quadratic_kappa
    plain = kappa(labels, predictions, GRADES)
    tuned = kappa(labels, predictions, GRADES, CutPoints.fit(labels, predictions, kappa))
    nested = nested_score(labels, predictions, np.arange(60) % 5, kappa, GRADES)
    assert tuned > plain + 0.02 and nested <= plain


def test_nested_score_uses_the_other_folds():
    """Fold 0 has cut point 0.25 and fold 1 has 0.75, so each is decided with the wrong one."""
    labels, predictions = np.array([[0.0], [1], [0], [1]]), np.array([[0.2], [0.3], [0.7], [0.8]])
    score = nested_score(labels, predictions, [0, 0, 1, 1], metrics.accuracy, GRADES)
    assert score == 0.5  # fold 0 is decided as 0, 0 and fold 1 as 1, 1


def test_a_nested_score_without_decisions_is_the_score():
    labels, predictions = np.eye(2)[[0, 1, 0, 1]], np.eye(2)[[0, 1, 1, 1]]
    for metric in (metrics.macro_f1, metrics.log_loss):
        score = nested_score(labels, predictions, [0, 0, 1, 1], metric, ONE)
        assert score == metric(labels, predictions, ONE)
    with pytest.raises(ValueError, match="at least two folds"):
        nested_score(labels, predictions, [0, 0, 0, 0], metrics.macro_f1, ONE)


@pytest.mark.parametrize("decisions", [Thresholds((0.25, 0.1)), CutPoints((0.5, 1.5))])
def test_decisions_survive_json(decisions):
    assert from_json(json.loads(json.dumps(decisions.to_json()))) == decisions
    with pytest.raises(ValueError, match="must be of kind thresholds or cut points"):
        from_json({"kind": "x"})


def test_only_metrics_of_decisions_are_fitted():
    labels, predictions = noise(0, 10, 2)
    with pytest.raises(ValueError, match="do not change roc_auc"):
        Thresholds.fit(labels, predictions, metrics.roc_auc)
    assert fit_decisions(labels, predictions, metrics.roc_auc, ANY) is None
    assert isinstance(fit_decisions(labels, predictions, metrics.micro_f1, ANY), Thresholds)
    with pytest.raises(ValueError, match="numbers from 0"):
        CutPoints.fit(labels, predictions, metrics.quadratic_kappa)
