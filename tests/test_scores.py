"""Scores against numbers worked out by hand and scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from kcomp.metrics import scores

LABELS = np.eye(3)[[0, 1, 2, 1]]
GUESS = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.2, 0.6, 0.2]])


def test_by_hand():
    found = scores.score(LABELS, GUESS)
    assert found["accuracy"] == 0.75
    assert found["log_loss"] == pytest.approx(-(np.log(0.7) + np.log(0.8) + np.log(0.3) + np.log(0.6)) / 4)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)  # class 0: precision 1/2, recall 1; class 2: none
    assert found["roc_auc"] == 1.0  # each class's own row has its column's largest value


def test_log_loss_is_scikit_learns():
    draws = np.random.default_rng(0)
    truth, guess = draws.integers(0, 5, 200), draws.dirichlet(np.ones(5), 200)
    assert scores.cross_entropy(np.eye(5)[truth], guess) == pytest.approx(
        metrics.log_loss(truth, guess, labels=range(5))
    )


def test_certain_and_wrong_is_finite():
    assert 30 < scores.cross_entropy(np.eye(2)[[0]], np.array([[0.0, 1.0]])) < 40


def test_auc_leaves_out_columns_without_both_kinds():
    truth = np.array([0, 0, 1])
    guess = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.5, 0.5, 0.0]])
    assert scores.mean_column_auc(truth, guess) == pytest.approx((0.5 + 0.5) / 2)
    assert np.isnan(scores.mean_column_auc(np.zeros(3, int), guess))


def test_soft_labels_cost_their_entropy():
    soft = np.array([[0.25, 0.75]])
    assert scores.cross_entropy(soft, soft) == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))


@pytest.mark.parametrize("guess", [GUESS[:2], GUESS * np.nan, GUESS[:, :2]])
def test_refuses_what_cannot_be_scored(guess):
    with pytest.raises(ValueError, match="must"):
        scores.score(LABELS, guess)


def test_better_knows_the_direction():
    assert scores.better("log_loss", 0.1, 0.2) and not scores.better("accuracy", 0.1, 0.2)
    assert scores.better("accuracy", 0.1, None) and not scores.better("accuracy", float("nan"), 0.0)
