"""Calibration, smoothing and class rates of final predictions: by hand, against scikit-learn, and on drawn data."""

import dataclasses
import json

import conftest
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from test_ensemble import make_run

from kcomp import metrics
from kcomp.ensembles.corrections import priors
from kcomp.ensembles.corrections.smoothing import count_reordered, describe_smoothing
from kcomp.ensembles.methods import calibration, fitting
from kcomp.metrics.scores import Scorer
from kcomp.targets import AnyOf, Grades, Numbers, OneOf
from kcomp.targets.arrays import log_odds, sigmoid, softmax

THREE, LABELS = OneOf(("a", "b", "c")), AnyOf(("a", "b"))


def drawn(rows, seed=0, scales=(2.0, 0.5, 1.0), offsets=(0.5, 0.0, -0.5)):
    """Probabilities and labels; the labels follow softmax(logits * scales + offsets)."""
    draws = np.random.default_rng(seed)
    logits = draws.normal(0, 1.5, (rows, 3))
    logits -= logits.mean(1, keepdims=True)
    true = softmax(logits * np.array(scales) + np.array(offsets))
    labels = np.eye(3)[(draws.random((rows, 1)) > true.cumsum(1)).sum(1).clip(0, 2)]
    return softmax(logits), labels, true


class Given:
    """A classifier of scikit-learn whose inputs are its probabilities."""

    _estimator_type, classes_ = "classifier", np.arange(3)

    def fit(self, inputs, labels):
        return self

    def predict_proba(self, inputs):
        return inputs

    def predict(self, inputs):
        return inputs.argmax(1)

    def __sklearn_tags__(self):
        return LogisticRegression().__sklearn_tags__()

    def __sklearn_is_fitted__(self):
        return True


def test_isotonic_calibration_equals_scikit_learns():
    values, labels, _ = drawn(300)
    fitted = calibration.fit_isotonic(values, labels, THREE)
    peer = CalibratedClassifierCV(FrozenEstimator(Given()), method="isotonic").fit(values, labels.argmax(1))
    others = drawn(200, seed=1)[0]
    expected, without_floor = peer.predict_proba(others), dataclasses.replace(fitted, floor=0.0)
    np.testing.assert_allclose(without_floor(others), expected, atol=1e-7)
    assert (expected == 0).any() and fitted(others).min() > 0.5 / 302  # the floor 1 / 302, divided by sums below 2
    np.testing.assert_allclose(fitted(others).sum(1), 1)


def test_isotonic_calibration_of_numbers_and_of_missing_labels():
    target = Numbers(("x",))
    values, labels = np.array([[1.0], [2], [3], [4]]), np.array([[10.0], [30], [20], [np.nan]])
    found = calibration.fit_isotonic(values, labels, target)(np.array([[0.0], [2.0], [9.0]]))
    assert found.tolist() == [[10.0], [25.0], [25.0]]  # 30 and 20 are pooled
    grades = Grades(("0", "1", "2"))
    assert (calibration.fit_isotonic(values, np.array([[0.0], [2], [2], [2]]), grades)(values) <= 2).all()
    one = calibration.fit_isotonic(np.array([[0.2], [0.8]]), np.array([[0.0], [1.0]]), AnyOf(("a",)))
    assert one(np.array([[0.1], [0.9]])).tolist() == [[0.25], [0.75]]  # 1 / (2 + 2)


def test_vector_scaling_recovers_what_was_drawn():
    values, labels, true = drawn(40_000)
    fitted = calibration.fit_vector(values, labels, THREE)
    np.testing.assert_allclose(fitted(values), true, atol=0.03)
    logs = np.log(values) - np.log(values).mean(1, keepdims=True)
    changed = softmax(logs * fitted.scales + fitted.offsets)
    gradient = np.concatenate([((changed - labels) * logs).mean(0), (changed - labels).mean(0)])
    assert np.abs(gradient).max() < 1e-5  # the loss is convex, so this is its minimum


def test_vector_scaling_of_a_label_is_a_logistic_regression():
    values, labels, _ = drawn(500)
    pair, true = values[:, :2], np.where(np.arange(500)[:, None] % 7 == 0, np.nan, labels[:, :2])
    found = calibration.fit_vector(pair, true, LABELS)(pair)
    known = ~np.isnan(true[:, 0])
    for column in range(2):
        inputs = log_odds(pair[:, column : column + 1])
        peer = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(inputs[known], true[known, column])
        np.testing.assert_allclose(found[:, column], peer.predict_proba(inputs)[:, 1], atol=1e-4)
    constant = calibration.fit_vector(pair, np.zeros_like(pair), LABELS)
    np.testing.assert_allclose(constant(pair), pair)


@pytest.mark.parametrize("kind", calibration.FITS)
def test_calibration_of_random_labels_gains_nothing_over_the_class_shares(kind):
    """Scored by nested parts. The best prediction is the class shares, with a log loss of log 3."""
    draws = np.random.default_rng(0)
    values, labels = draws.dirichlet(np.ones(3), (2, 200)), np.eye(3)[draws.integers(0, 3, 200)]
    scorer = Scorer(metrics.log_loss, THREE)
    unseen = fitting.predict_unseen("mean", values, labels, scorer, np.arange(200) % 5, calibrate=kind)
    assert np.log(3) - 0.01 < scorer(labels, unseen) < 1.3
    trusting = fitting.fit_method("mean", values, labels, scorer, calibrate=kind)(values)
    assert scorer(labels, trusting) < scorer(labels, unseen)


def test_smoothing_by_hand():
    values = np.array([[0.95, 0.03, 0.02], [0.9, 0.05, 0.05]])
    expected = [[0.9 * 0.95 + 0.1 / 3, 0.027 + 0.1 / 3, 0.018 + 0.1 / 3], [0.9, 0.05, 0.05]]  # 0.9 is not above 0.9
    np.testing.assert_allclose(THREE.smoothed(values, 0.1, 0.9), expected)
    np.testing.assert_allclose(
        LABELS.smoothed(np.array([[0.95, 0.04], [0.5, 1.0]]), 0.1, 0.9), [[0.905, 0.086], [0.5, 0.95]]
    )
    np.testing.assert_allclose(AnyOf(("a",)).smoothed(np.array([[1.0]]), 0.1, 0.9), [[0.95]])
    with pytest.raises(ValueError, match="changes probabilities of classes, not numbers"):
        Numbers(("x",)).smoothed(np.zeros((2, 1)), 0.1, 0.9)


def test_a_changed_order_is_reported_for_metrics_of_order():
    before = np.array([[0.92, 0.08], [0.89, 0.11], [0.3, 0.7]])
    after = OneOf(("a", "b")).smoothed(before, 0.1, 0.9)  # 0.92 becomes 0.878, below 0.89
    assert count_reordered(before, after) == 2 and count_reordered(before, before * 0.5) == 0
    text = describe_smoothing(before, after, metrics.roc_auc)
    assert text.startswith("smoothing changes 1 of 3 rows. Warning: it changes the order of the rows in 2 of 2 columns")
    assert text.endswith("roc_auc can change")
    assert describe_smoothing(before, after, metrics.log_loss) == "smoothing changes 1 of 3 rows"
    assert "such as roc_auc" in describe_smoothing(before, after, None)
    everything = OneOf(("a", "b")).smoothed(before, 0.1, 0.0)  # all rows change alike, so no order does
    assert describe_smoothing(before, everything, None) == "smoothing changes 3 of 3 rows"


def calibrated(rates, rows, seed):
    """Features of three normal classes with these rates, and the posterior for equal rates, which is calibrated there."""
    draws = np.random.default_rng(seed)
    classes = draws.choice(3, rows, p=rates)
    centres = np.array([[0.0, 0], [2, 0], [0, 2]])
    points = centres[classes] + draws.normal(0, 1, (rows, 2))
    return softmax(-((points[:, None] - centres) ** 2).sum(2) / 2), np.eye(3)[classes]


def test_estimated_rates_are_those_of_shifted_data():
    training, shifted = np.full(3, 1 / 3), np.array([0.7, 0.2, 0.1])
    predictions, labels = calibrated(shifted, 5000, 0)
    rates = priors.estimate_rates(predictions, training, THREE)
    np.testing.assert_allclose(rates.estimated, labels.mean(0), atol=0.02)
    assert rates.p_value[0] < 1e-10
    corrected = priors.correct(predictions, rates, THREE)
    np.testing.assert_allclose(corrected.sum(1), 1)
    np.testing.assert_allclose(corrected.mean(0), rates.estimated, atol=1e-6)  # a fixed point, equation 9
    loss = Scorer(metrics.log_loss, THREE)
    assert loss(labels, corrected) < loss(labels, predictions) - 0.05
    same, _ = calibrated(training, 5000, 1)
    estimate = priors.estimate_rates(same, training, THREE)
    np.testing.assert_allclose(estimate.estimated, training, atol=0.03)
    assert estimate.p_value[0] > 0.01


def test_correction_by_hand():
    """Rates 1/2, 1/2 become 3/4, 1/4: odds of 2 become 6. An empty class keeps its probabilities."""
    rates = priors.Rates(np.array([0.5, 0.5, 0.0]), np.array([0.75, 0.25, 0.0]), np.ones(1))
    np.testing.assert_allclose(priors.correct(np.array([[2 / 3, 1 / 3, 0]]), rates, THREE), [[6 / 7, 1 / 7, 0]])
    rates = priors.Rates(np.array([0.5, 0.2]), np.array([0.75, 0.2]), np.ones(2))
    np.testing.assert_allclose(priors.correct(np.array([[2 / 3, 0.4]]), rates, LABELS), [[6 / 7, 0.4]])
    with pytest.raises(ValueError, match="needs probabilities of classes, which a target of grades does not have"):
        priors.estimate_rates(np.zeros((2, 1)), np.zeros(1), Grades(("0", "1")))


def test_rates_of_labels():
    draws = np.random.default_rng(0)
    present = draws.random((4000, 2)) < [0.1, 0.5]
    predictions = sigmoid(2 * (draws.normal(0, 1, (4000, 2)) + 2 * present - 1))  # calibrated where half are present
    rates = priors.estimate_rates(predictions, np.array([0.5, 0.5]), LABELS)
    np.testing.assert_allclose(rates.estimated, present.mean(0), atol=0.03)
    lines, sentences = priors.describe_rates(
        rates, priors.Rates(rates.training, np.array([0.5, 0.4]), rates.p_value), LABELS
    )
    assert lines[0]["class"] == "a" and "off by at most 0.100 (b)" in sentences[1]
    lines, sentences = priors.describe_rates(
        rates, priors.Rates(rates.training, np.array([0.5, 0.0]), rates.p_value), LABELS
    )
    assert "less than twice this error" in sentences[1] and "no held-out score" in sentences[1]


def test_the_commands(tmp_path):
    """`ensemble` scores smoothing out of fold, and `submit` corrects and smooths what it writes."""
    predictions, _ = calibrated(np.full(3, 1 / 3), 60, 3)
    names = [f"r{number}" for number in range(60)]  # `make_run` gives row n the class n modulo 3
    oof = pd.DataFrame(np.roll(np.eye(3), 0)[np.arange(60) % 3] * 0.9 + predictions * 0.1, names, list("xyz"))
    shifted = pd.DataFrame(calibrated([0.8, 0.1, 0.1], 40, 4)[0], [f"t{number}" for number in range(40)], list("xyz"))
    make_run(tmp_path / "runs" / "a", oof=oof, test=shifted)
    (tmp_path / "runs" / "a" / "config.json").write_text(json.dumps({}))
    options = ["--smooth", "0.1", "0.9", "--correct-priors", "-o", "out.csv"]
    done = conftest.kcomp("ensemble", "runs", "--calibrate", "isotonic", *options, cwd=tmp_path)
    for text in ("On held-out rows, smoothing changes", "estimated test rate", "Likelihood-ratio test", "log_loss"):
        assert text in done.stdout
    sample = pd.DataFrame({"image_id": shifted.index, "x": 0.5, "y": 0.25, "z": 0.25})
    sample.to_csv(tmp_path / "sample.csv", index=False)
    done = conftest.kcomp("submit", "runs", "--sample", "sample.csv", *options[:-1], "sub.csv", cwd=tmp_path)
    written = pd.read_csv(tmp_path / "sub.csv")[list("xyz")].to_numpy()
    rates = priors.estimate_rates(shifted.to_numpy(), np.full(3, 1 / 3), THREE)
    expected = THREE.smoothed(priors.correct(shifted.to_numpy(), rates, THREE), 0.1, 0.9)
    np.testing.assert_allclose(written, expected, atol=1e-5)
    for call, message in (
        (["ensemble", "runs", "--correct-priors"], "name a file for them with -o"),
        (["ensemble", "runs", "--smooth", "1.5", "0.9"], "--smooth takes a share above 0 and below 1"),
        (["ensemble", "runs", "--group-by", "seed", "--smooth", "0.1", "0.9"], "leave out --group-by"),
        (["submit", "out.csv", "--sample", "sample.csv", "--correct-priors", "-o", "s.csv"], "needs runs"),
    ):
        done = conftest.kcomp(*call, cwd=tmp_path, check=False)
        assert done.returncode == 2 and message in done.stderr, done.stderr
