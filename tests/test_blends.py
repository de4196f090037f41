"""Joining members by arithmetic: averages, weights, stacking, temperatures, against numbers by hand and peers."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from kcomp import metrics
from kcomp.ensembles import CALIBRATIONS, METHODS, TREES
from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.ensembles.methods import averages, calibration, fitting, multinomial, objectives, temperature, weights
from kcomp.ensembles.scoring import diversity, gains
from kcomp.metrics.scores import Scorer
from kcomp.targets import OneOf
from kcomp.targets.arrays import softmax

DRAWS = np.random.default_rng(0)
NAMES = ("accuracy", "log_loss", "macro_f1", "roc_auc")
SCORERS = {name: Scorer(metrics.get(name), OneOf(("a", "b"))) for name in NAMES}
THREE_CLASSES, FOUR = OneOf(("x", "y", "z")), OneOf(("a", "b", "c", "d"))
THREE_SCORER = Scorer(metrics.log_loss, THREE_CLASSES)
LOG_LOSS, ACCURACY = SCORERS["log_loss"], SCORERS["accuracy"]


def made_up(members, rows, classes, *, seed=0, noise=1.0):
    """Members that see one signal through noise of their own, and the labels."""
    draws = np.random.default_rng(seed)
    truth = draws.integers(0, classes, rows)
    signal = draws.normal(0, 1, (rows, classes)) + 1.5 * np.eye(classes)[truth]
    values = np.stack([softmax(signal + noise * draws.normal(0, 1, signal.shape)) for _ in range(members)])
    return values, np.eye(classes)[truth]


# ---------------------------------------------------------------------------------------------------------- averages

THREE = np.array(
    [
        [[0.6, 0.4, 0.0], [0.5, 0.3, 0.2]],
        [[0.4, 0.5, 0.1], [0.2, 0.5, 0.3]],
        [[0.1, 0.3, 0.6], [0.1, 0.8, 0.1]],
    ]
)  # three members, two rows, three classes


def test_averages_by_hand():
    np.testing.assert_allclose(THREE_CLASSES.average(THREE), [[1.1 / 3, 1.2 / 3, 0.7 / 3], [0.8 / 3, 1.6 / 3, 0.6 / 3]])
    # Row 0 has one vote for each class, row 1 one for the first and two for the second; the mean is a fourth vote.
    np.testing.assert_allclose(
        THREE_CLASSES.vote(THREE), [[4.1 / 12, 4.2 / 12, 3.7 / 12], [3.8 / 12, 7.6 / 12, 0.6 / 12]]
    )
    roots = np.array([(0.5 * 0.2 * 0.1) ** (1 / 3), (0.3 * 0.5 * 0.8) ** (1 / 3), (0.2 * 0.3 * 0.1) ** (1 / 3)])
    np.testing.assert_allclose(THREE_CLASSES.gmean(THREE)[1], roots / roots.sum())
    # Class 0: the members' ranks of row 0 are 2, 2, 1.5; class 1: 2, 1.5, 1; class 2: 1, 1, 2.
    values = THREE.copy()
    values[2, :, 0], values[1, :, 1] = 0.1, 0.5
    np.testing.assert_allclose(THREE_CLASSES.rank(values)[0], np.array([5.5, 4.5, 4]) / 14)


def test_a_class_with_fewer_votes_never_wins():
    values = np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.0, 1.0]]])  # the mean prefers the second class
    assert LOG_LOSS.target.average(values).argmax() == 1 and LOG_LOSS.target.vote(values).argmax() == 0


def test_every_method_gives_probabilities():
    values, labels = made_up(4, 60, 3)
    for method, calibrate in [
        *((method, None) for method in METHODS if method not in TREES),
        *(("mean", kind) for kind in CALIBRATIONS),
    ]:
        found = fitting.fit_method(method, values, labels, THREE_SCORER, calibrate=calibrate)(values)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
        assert (found >= 0).all() and found.shape == labels.shape
    assert METHODS == fitting.METHODS and tuple(calibration.FITS) == CALIBRATIONS
    with pytest.raises(ValueError, match=r"the method must be one of mean, median, vote.*received 'medial'"):
        fitting.fit_method("medial", values, labels, LOG_LOSS)


def test_ranks_of_two_classes_have_the_auc_of_the_mean_rank():
    """With two classes a row's ranks have one sum, so normalising does not change the order."""
    values, labels = made_up(3, 80, 2)
    ranks = sum(np.argsort(np.argsort(member[:, 1])) for member in values)
    expected = roc_auc_score(labels[:, 1], ranks)
    assert roc_auc_score(labels[:, 1], LOG_LOSS.target.rank(values)[:, 1]) == pytest.approx(expected)


# ------------------------------------------------------------------------------------------------------------ scores


@pytest.mark.parametrize("metric", NAMES)
@pytest.mark.parametrize("classes", [2, 4])
def test_objectives_are_the_scores(metric, classes):
    values, labels = made_up(3, 50, classes)
    values = np.round(values, 1) + 1e-3  # ties, and rows that do not sum to 1
    values /= values.sum(2, keepdims=True)
    labels[:, 0] += labels[:, -1]  # the last class never occurs
    labels[:, -1] = 0
    mixture = np.array([0.5, 0.2, 0.3])
    blended = averages.weighted(values, mixture)
    expected = LOG_LOSS.all(labels, blended)
    aim = objectives.objective(SCORERS[metric], values, labels)
    found = aim.loss(mixture @ aim.features)
    sign = 1 if metric == "log_loss" else -1
    assert found[0] == pytest.approx(sign * expected[metric], nan_ok=True)
    if metric != "log_loss":
        assert found[1] == pytest.approx(expected["log_loss"])


# ----------------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("soft", [False, True])
def test_log_loss_weights_are_the_best_of_a_fine_grid(soft):
    values, labels = made_up(3, 200, 3, seed=2)
    values[1] = softmax(np.log(values[1]) * 3)  # too sure of itself
    if soft:
        labels = 0.9 * labels + 0.1 / 3
    found = weights.log_loss_weights(values, labels, LOG_LOSS)
    grid = [np.array([a, b, 100 - a - b]) / 100 for a in range(101) for b in range(101 - a)]
    losses = [LOG_LOSS(labels, averages.weighted(values, one)) for one in grid]
    assert LOG_LOSS(labels, averages.weighted(values, found)) <= min(losses) + 1e-12
    np.testing.assert_allclose(found, grid[int(np.argmin(losses))], atol=0.01)
    assert found.sum() == pytest.approx(1) and (found >= 0).all()


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "roc_auc"])
def test_the_local_search_is_no_worse_than_a_coarse_grid(metric):
    values, labels = made_up(2, 120, 3, seed=5)
    grid = [np.array([share, 20 - share]) / 20 for share in range(21)]
    best = max(SCORERS[metric](labels, averages.weighted(values, one)) for one in grid)
    found = weights.searched(values, labels, SCORERS[metric])
    assert SCORERS[metric](labels, averages.weighted(values, found)) >= best - 0.01
    start = weights.log_loss_weights(values, labels, LOG_LOSS)
    assert SCORERS[metric](labels, averages.weighted(values, found)) > SCORERS[metric](
        labels, averages.weighted(values, start)
    )


def test_moving_weight_by_hand():
    start = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(weights.shifted(start, 0, 0.2), [0.6, 0.24, 0.16])
    np.testing.assert_allclose(weights.shifted(start, 0, -0.5), [0, 0.6, 0.4])
    assert weights.shifted(start, 1, 0) is None and weights.shifted(np.array([0, 1.0]), 1, 0.3) is None


@pytest.mark.parametrize(("rounds", "counts"), [(0, [1, 1, 1]), (1, [2, 1, 1]), (2, [2, 1, 1])])
def test_greedy_selection_by_hand(monkeypatch, rounds, counts):
    """Two rows; members give the true class .9, .5, .2 in the first and .3, .6, .9 in the second.

    Alone their products are .27, .3, .18: the second begins. With the first it is .7 * .45 = .315, with the third too
    .5333 * .6 = .32: all three are the best beginning. Adding the first gives .625 * .525 = .328, the second .525 * .6 =
    .315, the third .45 * .675 = .304. After that the first gives .68 * .48 = .3264, the others .6 * .54 and .54 * .6 =
    .324: none is better, and what was best is kept.
    """
    true = np.array([[0.9, 0.3], [0.5, 0.6], [0.2, 0.9]])
    values, labels = np.stack([true, 1 - true], axis=2), np.array([[1.0, 0], [1, 0]])
    monkeypatch.setattr(weights, "ROUNDS", rounds)
    np.testing.assert_allclose(weights.greedy(values, labels, LOG_LOSS), np.array(counts) / sum(counts))


def test_many_greedy_rounds_come_close_to_the_optimum():
    values, labels = made_up(3, 200, 3, seed=2, noise=2.0)
    losses = [
        LOG_LOSS(labels, averages.weighted(values, found))
        for found in (weights.greedy(values, labels, LOG_LOSS), weights.log_loss_weights(values, labels, LOG_LOSS))
    ]
    assert 0 <= losses[0] - losses[1] < 1e-4
    even = LOG_LOSS(labels, LOG_LOSS.target.average(values))
    assert even - losses[1] > 3e-4  # so that the bound says something


def test_greedy_selection_leaves_bad_members_out():
    values, labels = made_up(3, 300, 3)
    bad = softmax(DRAWS.normal(0, 3, (5, 300, 3)))
    for scorer in SCORERS.values():
        found = weights.greedy(np.concatenate([bad, values]), labels, scorer)
        assert found[:5].sum() < 0.25 and found.sum() == pytest.approx(1)


# ------------------------------------------------------------------------------------------- temperature and stacking


def test_the_temperature_is_the_best_of_a_fine_grid():
    values, labels = made_up(1, 300, 4)
    sure = FOUR.tempered(values[0], 0.4)
    grid = np.exp(np.linspace(np.log(0.2), np.log(10), 4000))
    losses = [LOG_LOSS(labels, FOUR.tempered(sure, one)) for one in grid]
    assert temperature.fit(sure, labels, FOUR) == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)
    assert temperature.fit(sure, labels, FOUR) == pytest.approx(
        0.4**-1 * temperature.fit(values[0], labels, FOUR), rel=1e-3
    )
    np.testing.assert_allclose(LOG_LOSS.target.tempered(np.array([[0.8, 0.2]]), 0.5), [[0.64 / 0.68, 0.04 / 0.68]])


def test_the_regression_is_scikit_learns():
    values, labels = made_up(2, 150, 3)
    features = multinomial.features_of(values)
    found, bias = multinomial.regression(features, np.zeros((150, 3)), labels, 0.01)
    peer = LogisticRegression(C=1 / (0.01 * 150), tol=1e-8, max_iter=10_000).fit(features, labels.argmax(1))
    guess = softmax(features @ found + bias)
    np.testing.assert_allclose(guess, peer.predict_proba(features), atol=1e-4)


def test_stacking_learns_what_no_weight_can_say():
    """A member that swaps two classes is useless to an average, and as good as any to a stacker."""
    values, labels = made_up(1, 600, 3)
    swapped = values[:, :, [1, 0, 2]]
    stacked = fitting.predict_unseen("stack", swapped, labels, LOG_LOSS, stratified_parts(labels.argmax(1), 5))
    assert LOG_LOSS(labels, stacked) < LOG_LOSS(labels, values[0]) + 0.03
    assert LOG_LOSS(labels, swapped[0]) > LOG_LOSS(labels, values[0]) + 0.5


def test_a_stacker_under_a_great_penalty_is_the_geometric_mean():
    values, labels = made_up(3, 90, 3)
    flat, _ = multinomial.regression(multinomial.features_of(values), multinomial.mean_log(values), labels, 1e9)
    np.testing.assert_allclose(
        multinomial.MultinomialStacker(flat, np.zeros(3), 1e9)(values), THREE_CLASSES.gmean(values), atol=1e-6
    )


# -------------------------------------------------------------------------------------------------------- judged fairly


@pytest.mark.parametrize("method", ["search", "greedy", "stack"])
def test_members_that_know_nothing_gain_nothing_out_of_their_fit(method):
    """Weights fitted to accuracy on noise look good on the rows they were fitted on, and only there."""
    draws = np.random.default_rng(3)
    values = draws.dirichlet(np.ones(3), (12, 150))
    labels = np.eye(3)[np.arange(150) % 3]
    fitted = fitting.fit_method(method, values, labels, ACCURACY)(values)
    nested = fitting.predict_unseen(method, values, labels, ACCURACY, stratified_parts(labels.argmax(1), 5))
    accuracy = [ACCURACY(labels, found) for found in (fitted, nested)]
    assert accuracy[0] > 0.42 and abs(accuracy[1] - 1 / 3) < 0.1


@pytest.mark.parametrize("method", ["search", "stack", "mean"])
def test_a_part_is_judged_by_what_its_own_labels_cannot_reach(method):
    values, labels = made_up(3, 60, 3)
    numbers = np.arange(60) % 4
    changed = labels.copy()
    changed[numbers == 1] = labels[numbers == 1][:, [1, 2, 0]]
    before, after = (
        fitting.predict_unseen(method, values, given, LOG_LOSS, numbers, calibrate="vector")
        for given in (labels, changed)
    )
    if method == "mean":  # temperatures of the other parts change, and with them their rows, but not these
        assert not np.allclose(before[numbers != 1], after[numbers != 1])
    np.testing.assert_array_equal(before[numbers == 1], after[numbers == 1])


def test_stratified_parts_share_the_classes_out():
    labels = np.eye(3)[[0] * 10 + [1] * 5 + [2] * 2]
    found = stratified_parts(labels.argmax(1), 5)
    counts = np.array([[((found == part) & (labels[:, c] == 1)).sum() for part in range(5)] for c in range(3)])
    assert (counts[0] == 2).all() and (counts[1] == 1).all() and counts[2].max() == 1
    assert sorted(stratified_parts(np.arange(2), 5)) == [0, 1]


# ------------------------------------------------------------------------------------------------- likeness and gains


def test_likeness_by_hand():
    np.testing.assert_allclose(diversity.correlations(THREE, THREE_CLASSES), np.corrcoef(THREE.reshape(3, -1)))
    expected = np.array([[0, 2, 2], [2, 0, 1], [2, 1, 0]]) / 2
    np.testing.assert_allclose(diversity.disagreements(THREE, THREE_CLASSES), expected)
    assert np.isnan(diversity.correlations(np.full((1, 2, 2), 0.5), THREE_CLASSES)).all()


def test_a_gain_is_above_0_where_the_ensemble_is_better():
    values, labels = made_up(2, 200, 3, noise=2.0)
    better = 0.5 * values[0] + 0.5 * labels
    found = gains.compute_gain(SCORERS["macro_f1"], labels, better, values[0])
    for name, interval in found.intervals.items():
        difference = SCORERS[name](labels, better) - SCORERS[name](labels, values[0])
        assert interval.mean == pytest.approx(-difference if name == "log_loss" else difference)
        assert 0 < interval.low < interval.mean < interval.high
    assert found.rows_won > 20 and found.rows_lost == 0


def test_the_best_member_is_the_one_with_the_lowest_log_loss_of_equals():
    found = [{"accuracy": a, "log_loss": loss} for a, loss in [(0.8, 0.1), (0.9, 0.4), (0.9, 0.3), (0.9, 0.3)]]
    assert gains.find_best(ACCURACY.first(2), found) == 2 and gains.find_best(LOG_LOSS.first(2), found) == 0
    undefined = [{"roc_auc": float("nan"), "log_loss": 0.5}, {"roc_auc": 0.6, "log_loss": 0.9}]
    assert gains.find_best([metrics.roc_auc, metrics.log_loss], undefined) == 1
