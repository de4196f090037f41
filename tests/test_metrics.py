"""Metrics against scikit-learn, SciPy, published formulas and numbers worked out by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as peer

from kcomp import metrics
from kcomp.metrics.names import get_fitting
from kcomp.recipe import Recipe
from kcomp.targets import AnyOf, Grades, Numbers, OneOf

DRAWS = np.random.default_rng(0)


class OneClass:
    def decide(self, values):
        return np.asarray(values).argmax(1)


class SeveralLabels:
    def decide(self, values):
        return (np.asarray(values) > 0.5).astype(int)


class Graded:
    def decide(self, values):
        return np.rint(np.asarray(values)[:, 0]).astype(int)


ONE, ANY, GRADES = OneClass(), SeveralLabels(), Graded()
CLASSES = DRAWS.integers(0, 5, 200)
SHARES = DRAWS.dirichlet(np.ones(5), 200)
ONE_HOT, CHOSEN = np.eye(5)[CLASSES], SHARES.argmax(1)
MATRIX, CHANCES = (DRAWS.random((200, 4)) < [0.1, 0.3, 0.5, 0.8]).astype(float), DRAWS.random((200, 4))
DECIDED = (CHANCES >= 0.5).astype(int)
VALUES = DRAWS.normal(5, 2, (50, 3))
GUESSES = VALUES + DRAWS.normal(0, 1, (50, 3))


def columns(function, labels, predictions):
    return np.mean([function(labels[:, column], predictions[:, column]) for column in range(labels.shape[1])])


ONE_CLASS = {
    "accuracy": peer.accuracy_score(CLASSES, CHOSEN),
    "balanced_accuracy": peer.balanced_accuracy_score(CLASSES, CHOSEN),
    "log_loss": peer.log_loss(CLASSES, SHARES),
    "macro_f1": peer.f1_score(CLASSES, CHOSEN, average="macro"),
    "micro_f1": peer.f1_score(CLASSES, CHOSEN, average="micro"),
    "weighted_f1": peer.f1_score(CLASSES, CHOSEN, average="weighted"),
    "samples_f1": peer.accuracy_score(CLASSES, CHOSEN),
    "f2": peer.fbeta_score(CLASSES, CHOSEN, beta=2, average="macro"),
    "weighted_f0.5": peer.fbeta_score(CLASSES, CHOSEN, beta=0.5, average="weighted"),
    "quadratic_kappa": peer.cohen_kappa_score(CLASSES, CHOSEN, weights="quadratic"),
    "matthews": peer.matthews_corrcoef(CLASSES, CHOSEN),
    "roc_auc": peer.roc_auc_score(CLASSES, SHARES, multi_class="ovr", average="macro"),
    "average_precision": peer.average_precision_score(ONE_HOT, SHARES, average="macro"),
    "top_2": peer.top_k_accuracy_score(CLASSES, SHARES, k=2),
    "top_9": 1.0,
    "map@5": peer.label_ranking_average_precision_score(ONE_HOT, SHARES),
    "map@1": peer.accuracy_score(CLASSES, CHOSEN),
}
SEVERAL = {
    "accuracy": peer.accuracy_score(MATRIX, DECIDED),
    "balanced_accuracy": columns(peer.balanced_accuracy_score, MATRIX, DECIDED),
    "log_loss": columns(peer.log_loss, MATRIX, CHANCES),
    "macro_f1": peer.f1_score(MATRIX, DECIDED, average="macro"),
    "micro_f1": peer.f1_score(MATRIX, DECIDED, average="micro"),
    "weighted_f1": peer.f1_score(MATRIX, DECIDED, average="weighted"),
    "samples_f1": peer.f1_score(MATRIX, DECIDED, average="samples", zero_division=np.nan),
    "micro_f2": peer.fbeta_score(MATRIX, DECIDED, beta=2, average="micro"),
    "quadratic_kappa": columns(peer.cohen_kappa_score, MATRIX, DECIDED),
    "matthews": columns(peer.matthews_corrcoef, MATRIX, DECIDED),
    "roc_auc": peer.roc_auc_score(MATRIX, CHANCES),
    "average_precision": peer.average_precision_score(MATRIX, CHANCES),
}
NUMBERS = {
    "rmse": peer.root_mean_squared_error(VALUES, GUESSES),
    "mae": peer.mean_absolute_error(VALUES, GUESSES),
    "r2": peer.r2_score(VALUES, GUESSES),
    "pearson": columns(lambda true, guess: stats.pearsonr(true, guess)[0], VALUES, GUESSES),
    "spearman": columns(lambda true, guess: stats.spearmanr(true, guess)[0], VALUES.round(), GUESSES.round()),
}


@pytest.mark.parametrize("name", ONE_CLASS)
def test_metrics_of_one_class_equal_scikit_learn(name):
    assert metrics.get(name)(ONE_HOT, SHARES, ONE) == pytest.approx(ONE_CLASS[name], abs=1e-12)


@pytest.mark.parametrize("name", SEVERAL)
def test_metrics_of_several_labels_equal_scikit_learn(name):
    assert metrics.get(name)(MATRIX, CHANCES, ANY) == pytest.approx(SEVERAL[name], abs=1e-12)


@pytest.mark.parametrize("name", NUMBERS)
def test_metrics_of_numbers_equal_scikit_learn_and_scipy(name):
    rounded = (lambda values: values.round()) if name == "spearman" else (lambda values: values)  # with equal ranks
    assert metrics.get(name)(rounded(VALUES), rounded(GUESSES)) == pytest.approx(NUMBERS[name], abs=1e-12)


def test_every_metric_is_compared_with_a_peer():
    assert set(metrics.NAMES) <= {*ONE_CLASS, *SEVERAL, *NUMBERS}


def test_kappa_of_grades():
    labels, predictions = DRAWS.integers(0, 5, (300, 1)).astype(float), DRAWS.random((300, 1)) * 4
    expected = peer.cohen_kappa_score(labels[:, 0], predictions[:, 0].round(), weights="quadratic")
    assert metrics.quadratic_kappa(labels, predictions, GRADES) == pytest.approx(expected)
    assert metrics.accuracy(labels, predictions, GRADES) == (labels == predictions.round()).mean()
    assert np.isnan(metrics.quadratic_kappa([[1.0]], [[1.2]], GRADES))
    with pytest.raises(ValueError, match="roc_auc needs a prediction for each class"):
        metrics.roc_auc(labels, predictions, GRADES)


def ben_hamners_mean_average_precision(actual, predicted, k):
    """The published implementation: https://github.com/benhamner/Metrics, in its definition for lists."""
    scores = []
    for relevant, ranked in zip(actual, predicted):
        hits, total = 0, 0.0
        for rank, label in enumerate(ranked[:k]):
            if label in relevant:
                hits += 1
                total += hits / (rank + 1)
        scores.append(total / min(len(relevant), k))
    return np.mean(scores)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_map_of_several_labels_is_the_published_one(k):
    rows = MATRIX.any(1)
    lists = [set(np.flatnonzero(row)) for row in MATRIX[rows]]
    ranked = (-CHANCES[rows]).argsort(1)
    expected = ben_hamners_mean_average_precision(lists, ranked, k)
    assert metrics.map_at_k(k)(MATRIX, CHANCES, ANY) == pytest.approx(expected)
    hit = [bool(relevant & set(ranks[:k])) for relevant, ranks in zip(lists, ranked)]
    assert metrics.top_k(k)(MATRIX, CHANCES, ANY) == pytest.approx(np.mean(hit))


def test_soft_labels():
    soft = np.array([[0.25, 0.75], [0.5, 0.5]])
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert metrics.log_loss(soft, soft, ONE) == pytest.approx((entropy + np.log(2)) / 2)
    assert metrics.log_loss(soft, soft, ANY) == pytest.approx((entropy + np.log(2)) / 2)
    assert metrics.accuracy(soft, [[0.1, 0.9], [0.6, 0.4]], ONE) == 1.0  # the most likely class, the first of two
    assert metrics.accuracy(soft, [[0.1, 0.9], [0.6, 0.4]], ANY) == 0.5  # 0.5 counts as absent


def test_certain_and_wrong_is_finite():
    assert 30 < metrics.log_loss([[1.0, 0.0]], [[0.0, 1.0]], ONE) < 40
    assert 15 < metrics.log_loss([[1.0, 0.0]], [[0.0, 0.0]], ANY) < 20


@pytest.mark.parametrize("name", [*SEVERAL, "top_2", "map@2"])
def test_missing_labels_are_masked(name):
    """A row without a known label changes nothing, and neither does the prediction of a missing label."""
    metric = metrics.get(name)
    labels, predictions = MATRIX.copy(), CHANCES.copy()
    labels[::3, 1] = np.nan
    score = metric(labels, predictions, ANY)
    rows = np.concatenate([labels, np.full((5, 4), np.nan)])
    assert metric(rows, np.concatenate([predictions, CHANCES[:5]]), ANY) == pytest.approx(score, abs=1e-12)
    predictions[::3, 1] = 1 - predictions[::3, 1]
    assert metric(labels, predictions, ANY) == pytest.approx(score, abs=1e-12)
    assert np.isnan(metric(np.full((2, 4), np.nan), CHANCES[:2], ANY))


@pytest.mark.parametrize("name", NUMBERS)
def test_missing_numbers_are_masked(name):
    labels = VALUES.copy()
    labels[:20, 0] = np.nan
    whole = [metrics.get(name)(VALUES[20:, :1], GUESSES[20:, :1])]
    whole += [metrics.get(name)(VALUES[:, column : column + 1], GUESSES[:, column : column + 1]) for column in (1, 2)]
    assert metrics.get(name)(labels, GUESSES) == pytest.approx(np.mean(whole))


def test_columns_without_positives_are_skipped():
    labels = MATRIX.copy()
    labels[:, 2] = 0
    rest = [0, 1, 3]
    for metric in (metrics.roc_auc, metrics.average_precision, metrics.balanced_accuracy, metrics.matthews):
        assert metric(labels, CHANCES, ANY) == pytest.approx(metric(labels[:, rest], CHANCES[:, rest], ANY))
    nothing = np.where(np.arange(4) == 2, 0.0, CHANCES)  # no positive label and no positive decision
    assert metrics.macro_f1(labels, nothing, ANY) == metrics.macro_f1(labels[:, rest], CHANCES[:, rest], ANY)
    assert metrics.macro_f1(labels, CHANCES, ANY) == pytest.approx(
        peer.f1_score(labels, DECIDED, average="macro", zero_division=0)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    {"accuracy": 0, "balanced_accuracy": 0, "log_loss": np.log(4), "macro_f1": 0, "top_2": 1, "map@2": 0.5}.items(),
)
def test_one_row(name, value):
    assert metrics.get(name)([[1.0, 0.0]], [[0.25, 0.75]], ONE) == pytest.approx(value)


def test_scores_of_one_row_that_are_undefined_are_nan():
    for metric in (metrics.roc_auc, metrics.quadratic_kappa):
        assert np.isnan(metric([[1.0, 0.0]], [[0.75, 0.25]], ONE))
    for metric in (metrics.r2, metrics.pearson, metrics.spearman):
        assert np.isnan(metric([[1.0]], [[2.0]]))
    assert metrics.rmse([[1.0]], [[3.0]]) == metrics.mae([[1.0]], [[3.0]]) == 2


def test_values_of_rows_have_the_metric_as_their_mean():
    for name in ("accuracy", "log_loss", "top_2", "map@3"):
        metric = metrics.get(name)
        assert np.nanmean(metric.row_values(ONE_HOT, SHARES, ONE)) == metric(ONE_HOT, SHARES, ONE)
        assert np.nanmean(metric.row_values(MATRIX, CHANCES, ANY)) == metric(MATRIX, CHANCES, ANY)
    with pytest.raises(ValueError, match="roc_auc is not a mean over rows"):
        metrics.roc_auc.row_values(ONE_HOT, SHARES, ONE)


def test_better_knows_the_direction():
    assert metrics.log_loss.is_better(0.1, 0.2) and not metrics.accuracy.is_better(0.1, 0.2)
    assert metrics.accuracy.is_better(0.1, None) and not metrics.accuracy.is_better(float("nan"), 0.0)


def test_metrics_have_names():
    for name in metrics.NAMES:
        assert metrics.get(name).name == name
    for name in ("top_5", "map@5", "micro_f0.5", "macro_f2"):
        assert metrics.get(name).name == name
    assert metrics.get("f1") == metrics.macro_f1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("auc", "did you mean 'roc_auc'"),
        ("macro_f", "did you mean 'macro_f1'"),
        ("qqqq", "known: accuracy, "),
        ("top_0", "k must be an integer from 1"),
        ("f0", "beta must be above 0"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        metrics.get(name)


def test_a_function_is_a_metric():
    def worst_error(labels, predictions):
        return np.abs(labels - predictions).max()

    assert metrics.get(worst_error).higher_is_better
    worst_error.higher_is_better = False
    metric = metrics.get(worst_error)
    assert metric.name == "worst_error" and metric([[1.0]], [[3.0]], GRADES) == 2 and metric.is_better(1, 2)
    with pytest.raises(TypeError, match=r"call metrics\.top_k"):
        metrics.get(metrics.top_k)
    with pytest.raises(TypeError, match="received 3"):
        metrics.get(3)


@pytest.mark.parametrize("predictions", [SHARES[:2], SHARES * np.nan, SHARES[:, :2]])
def test_rejects_what_cannot_be_scored(predictions):
    with pytest.raises(ValueError, match="must"):
        metrics.accuracy(ONE_HOT, predictions, ONE)
    with pytest.raises(ValueError, match="accuracy needs the target"):
        metrics.accuracy(ONE_HOT, SHARES)


@pytest.mark.parametrize(
    ("metric", "target", "fitting"),
    [
        (metrics.accuracy, Numbers(("grams",)), "rmse, mae, r2, pearson, spearman, or a"),
        ("top_5", Numbers(("grams",)), "rmse, mae, r2, pearson, spearman, or a"),
        ("rmse", OneOf(("cat", "dog")), "accuracy, balanced_accuracy, log_loss"),
        ("mae", AnyOf(("cat", "dog")), "average_precision, or a"),
        ("roc_auc", Grades(("0", "1")), "accuracy, balanced_accuracy, macro_f1"),
    ],
)
def test_a_metric_that_does_not_fit_the_target_is_refused(metric, target, fitting):
    recipe = Recipe(target, table=len, batches=len, model=len, stages=len, metric=metric)
    with pytest.raises(
        ValueError, match=f"^the metric .* does not fit a target of {target.name}; use one of .*{fitting}"
    ):
        recipe.metric_of(target)


def test_metrics_that_fit():
    def worst_error(labels, predictions):
        return np.abs(labels - predictions).max()

    for target in (OneOf(("cat", "dog")), AnyOf(("cat",)), Numbers(("grams",)), Grades(("0", "1"))):
        for metric in (*target.shown_metrics, target.default_metric, worst_error):
            assert get_fitting(metric, target) == metrics.get(metric)
