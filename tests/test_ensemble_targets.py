"""Every method of joining members for every target, decisions, items and pseudo-labels, against numbers by hand."""

import numpy as np
import pandas as pd
import pytest
from conftest import backends, kcomp
from sklearn.linear_model import Ridge
from test_train_targets import RECIPE

from kcomp import data, metrics
from kcomp.data.items import per_item
from kcomp.ensembles import METHODS, TREES
from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.ensembles.decisions import score_decisions
from kcomp.ensembles.joins import HeldOut
from kcomp.ensembles.methods import fitting, stacking, temperature
from kcomp.ensembles.printing import print_diversity
from kcomp.ensembles.pseudo_labels import FoldLabels, count_by_class, summarize_fold
from kcomp.ensembles.scoring.ensemble import score_ensemble
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run
from kcomp.targets import AnyOf, Grades, Numbers, OneOf

NUMBERS = Numbers(("grams", "cm")).fitted(np.array([[100.0, 1], [300, 3]]))
TARGETS = {
    "one": OneOf(("a", "b", "c")),
    "any": AnyOf(("x", "y")),
    "numbers": NUMBERS,
    "grades": Grades(("A", "B", "C", "D"), loss_name="softmax"),
}
REFUSED = {"one": (), "any": (), "numbers": ("vote", "gmean", "rank"), "grades": ("vote", "gmean", "rank")}


def made_up(target, members=3, rows=60, seed=0):
    """Predictions of members that see one signal through noise, and labels of which some are missing if they may be."""
    draws = np.random.default_rng(seed)
    signal = draws.normal(0, 1.5, (rows, target.outputs))
    values = np.stack([target.predict(signal + draws.normal(0, 1, signal.shape)) for _ in range(members)])
    labels = target.predict(signal)
    labels = target.hardened(labels) if target.class_names and labels.shape[1] > 1 else np.rint(labels)
    try:
        missing = np.where(draws.random(labels.shape) < 0.1, np.nan, labels)
        target.check_labels(missing, [str(row) for row in range(rows)])
    except ValueError:
        return values, labels
    return values, missing


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("method", [method for method in METHODS if method not in TREES])
def test_every_method_for_every_target(method, name):
    target = TARGETS[name]
    values, labels = made_up(target)
    # ranks keep the order of rows, but are no probabilities
    scorer = Scorer(metrics.roc_auc if method == "rank" else metrics.get(target.default_metric), target)
    parts = stratified_parts(target.strata(labels), 5)
    if method in REFUSED[name]:
        with pytest.raises(
            ValueError, match=f"^{method} averages probabilities, not {target.name}; use one of mean, med"
        ):
            fitting.predict_unseen(method, values, labels, scorer, parts)
        return
    fitted = fitting.fit_method(method, values, labels, scorer)
    for predictions in (fitted(values), fitting.predict_unseen(method, values, labels, scorer, parts)):
        assert target.prediction_problems(predictions, [str(row) for row in range(60)]) == []
        worst = [scorer(labels, member) for member in values]
        worst = min(worst) if scorer.metric.higher_is_better else -max(worst)
        assert (1 if scorer.metric.higher_is_better else -1) * scorer(labels, predictions) > worst


@pytest.mark.parametrize("name", TARGETS)
def test_scores_and_printing_of_every_target(name, capsys):
    target = TARGETS[name]
    values, labels = made_up(target)
    ids = pd.Index([str(row) for row in range(60)])
    rows = HeldOut(ids, target, values, labels, np.arange(60) % 3, True)
    scorer = Scorer(metrics.get(target.default_metric), target)
    scores = score_ensemble(rows, scorer, method="search")
    assert scores.parts == 3 and scores.fitted.weights.sum() == pytest.approx(1)
    assert (scores.gain.rows_won is None) == (name in ("any", "numbers"))
    print_diversity(values[:2], target)
    printed = capsys.readouterr().out
    assert ("The members decide differently in" in printed) == (name != "numbers") and "correlation" in printed


def test_temperatures_of_labels_and_their_refusal():
    target = TARGETS["any"]
    np.testing.assert_allclose(target.tempered(np.array([[0.8, 0.5]]), 0.5), [[16 / 17, 0.5]])  # odds 4 become 16
    values, labels = made_up(target, rows=300)
    sure = target.tempered(values[0], 0.25)
    expected = 4 * temperature.fit(values[0], labels, target)
    assert temperature.fit(sure, labels, target) == pytest.approx(expected, rel=1e-3)
    for name in ("numbers", "grades"):
        values, labels = made_up(TARGETS[name])
        scorer = Scorer(metrics.mae, TARGETS[name])
        with pytest.raises(
            ValueError, match=r"^--calibrate temperature needs probabilities; .* (numbers|grades) .* by isotonic"
        ):
            fitting.fit_method("mean", values, labels, scorer, calibrate="temperature")


def test_ridge_stacking_is_scikit_learns_and_corrects_a_bias():
    values, labels = made_up(NUMBERS, rows=80)
    values = values * 2 + 50  # each member is wrong by a factor and an offset
    stacker = stacking.fit(values, labels, NUMBERS)
    known = ~np.isnan(labels[:, 0])
    features = values[:, known, 0].T
    scaled = (features - features.mean(0)) / features.std(0)
    peer = Ridge(alpha=stacker.penalties[0]).fit(scaled, labels[known, 0] - features.mean(1))
    np.testing.assert_allclose(stacker(values)[known, 0], peer.predict(scaled) + features.mean(1))
    assert metrics.mae(labels, stacker(values)) < 0.5 * metrics.mae(labels, values.mean(0))


def test_a_label_without_positives_keeps_the_geometric_mean():
    target = TARGETS["any"]
    values, labels = made_up(target)
    labels[:, 1] = np.where(np.isnan(labels[:, 1]), np.nan, 0)
    stacked = stacking.fit(values, labels, target)(values)
    np.testing.assert_allclose(stacked[:, 1], target.gmean(values)[:, 1])
    assert not np.allclose(stacked[:, 0], target.gmean(values)[:, 0])


# --------------------------------------------------------------------------------------------------------- decisions


def test_fitted_decisions_are_scored_by_parts_that_they_were_not_fitted_on():
    draws = np.random.default_rng(0)
    labels, predictions = (draws.random((40, 6)) < 0.3).astype(float), draws.uniform(0.5, 1, (40, 6))
    scorer = Scorer(metrics.macro_f1, AnyOf(tuple("uvwxyz")))
    scored = score_decisions(scorer, labels, predictions, np.arange(40) % 5)
    assert scored.plain == metrics.macro_f1(labels, predictions, scorer.target)
    assert scored.optimistic > scored.plain + 0.02 and scored.nested < scored.plain + 0.005
    assert "By nested cross-validation macro_f1 is" in scored.describe() and "thresholds:" in scored.describe()
    assert scored.to_json()["kind"] == "thresholds" and len(scored.to_json()["values"]) == 6
    assert score_decisions(Scorer(metrics.roc_auc, scorer.target), labels, predictions, np.arange(40) % 5) is None
    assert score_decisions(scorer, labels, predictions, np.zeros(40)) is None


def test_labels_and_grades_without_held_out_rows_are_named():
    draws = np.random.default_rng(0)
    grades = np.array([[0.0], [1], [3], [3]] * 10)  # neither 2 nor 4
    scorer, parts = Scorer(metrics.quadratic_kappa, Grades(("A", "B", "C", "D", "E"))), np.arange(40) % 5
    printed = score_decisions(scorer, grades, grades + draws.uniform(0, 0.1, (40, 1)), parts).describe()
    assert printed.endswith(
        "\nwarning: grades without a held-out row have no fitted cut point, so hardly any image gets them: 'C', 'E'"
    )
    labels, scorer = np.array([[1.0, 0], [0, 0]] * 20), Scorer(metrics.macro_f1, AnyOf(("rust", "scab")))
    printed = score_decisions(scorer, labels, draws.random((40, 2)), parts).describe()
    assert printed.endswith("\nwarning: labels without a positive held-out row have no fitted threshold: 'scab'")
    labels[0, 1] = 1
    assert "warning" not in score_decisions(scorer, labels, draws.random((40, 2)), parts).describe()


# ------------------------------------------------------------------------------------------------------------- items


def table_of_items(target, how):
    frame = pd.DataFrame({"image_id": ["1", "2", "3"], "image": ["1.png"] * 3, "item": ["p", "q", "p"]})
    labels = pd.DataFrame([[0.0, 1], [1, 0], [0, 1]], columns=list(target.columns))
    return data.Table(pd.concat([frame, labels], axis=1), target, item_average=how)


def test_predictions_of_items_by_hand():
    values = np.array([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4]])
    for target, how, expected in (
        (AnyOf(("x", "y")), "mean", [[0.4, 0.6], [0.5, 0.5]]),
        (AnyOf(("x", "y")), "max", [[0.6, 0.8], [0.5, 0.5]]),
        (OneOf(("x", "y")), "max", [[0.6 / 1.4, 0.8 / 1.4], [0.5, 0.5]]),
    ):
        table = table_of_items(target, how)
        items, averaged = per_item(table, values, target)
        assert items == ["p", "q"]
        np.testing.assert_allclose(averaged, expected)
        assert per_item(table, table.labels, target)[1].tolist() == [[0, 1], [1, 0]]
    plain = data.Table(table.frame.drop(columns="item"), target)
    assert per_item(plain, values, target)[1] is values
    with pytest.raises(ValueError, match="item_average must be 'mean' or 'max'; received 'median'"):
        table_of_items(target, "median")


@pytest.mark.parametrize("backend", backends())
def test_a_run_writes_and_scores_a_row_an_item(backend, tmp_path):
    """Two images an item; the recipe's table has 96 rows in 3 folds."""
    source = RECIPE.replace(
        "return data.Table(frame.assign(fold=np.arange(96) % 3), target)",
        'items = [f"p{row // 6}-{row % 3}" for row in range(96)]\n'
        "    return data.Table(frame.assign(fold=np.arange(96) % 3, item=items), target)",
    ).replace("rows.labels.argmax(1)", "rows.labels.argmax(1)[np.arange(96) // 6 * 6]")
    source = source.replace("stages=stages)", 'stages=stages, metric="macro_f1")')
    (tmp_path / "small.py").write_text(source)
    run = Run(tmp_path / "run")
    printed = kcomp("train", "small.py", "-o", run.folder, backend=backend, cwd=tmp_path).stdout
    kcomp("predict", run.folder, backend=backend, cwd=tmp_path)
    oof, labels = run.probabilities("oof"), run.probabilities("labels")
    assert list(oof.index) == list(labels.index) == [f"p{number}-0" for number in range(16)]
    assert len(run.probabilities("test")) == 11 and run.result["rows"] == 16  # 20 images of 11 items
    score = metrics.macro_f1(labels.to_numpy(), oof.to_numpy(), run.target)
    assert run.result["scores"]["macro_f1"] == pytest.approx(score)
    assert run.result["decisions"]["plain"] == pytest.approx(score) and "Fitted thresholds" in printed


# ----------------------------------------------------------------------------------------- runs of numbers, as a whole


@pytest.mark.parametrize("backend", backends())
def test_ensembles_soups_and_pseudo_labels_of_numbers(backend, tmp_path):
    (tmp_path / "small.py").write_text(RECIPE)
    for seed in (0, 1):
        options = ("--set", "kind=numbers", "--seed", seed, "-o", f"runs/{seed}")
        kcomp("train", "small.py", *options, backend=backend, cwd=tmp_path)
    kcomp("predict", "runs", backend=backend, cwd=tmp_path)
    printed = kcomp("ensemble", "runs", "--method", "median", "-o", "out.csv", cwd=tmp_path).stdout
    runs = [Run(tmp_path / "runs" / str(seed)) for seed in (0, 1)]
    expected = np.mean([run.probabilities("test").to_numpy() for run in runs], 0)  # the median of two
    written = pd.read_csv(tmp_path / "out.csv", index_col="image_id")
    assert list(written.columns) == ["grams", "cm"]
    np.testing.assert_allclose(written.to_numpy(), expected, rtol=1e-6)
    assert "mae" in printed and "right on" not in printed
    refused = kcomp("ensemble", "runs", "--method", "vote", cwd=tmp_path, check=False)
    assert refused.stderr.strip() == "kcomp: vote averages probabilities, not numbers; use one of mean, median"
    refused = kcomp("pseudo", "runs", "--fold", "0", "-o", "pseudo.csv", cwd=tmp_path, check=False)
    assert refused.stderr.strip().startswith(
        "kcomp: pseudo-labels are chosen by probabilities, which a target of numbers"
    )
    best = min(run.result["scores"]["mae"] for run in runs)  # networks of other seeds have no common average
    soup = kcomp("soup", "runs", "--method", "uniform", "-o", "soup", backend=backend, cwd=tmp_path, check=False)
    assert f"is no gain over mae {best:.4f} of the best ingredient" in soup.stderr


# ----------------------------------------------------------------------------------------------------- pseudo-labels


def test_only_confident_labels_of_a_row_are_pseudo_labels():
    target = TARGETS["any"]
    test = pd.DataFrame([[0.95, 0.5], [0.02, 0.97]], ["b", "a"], ["x", "y"])
    truth = pd.DataFrame([[1.0, np.nan], [1, 1]], ["r", "s"], ["x", "y"])
    run = Run("nowhere")
    fold = FoldLabels(0, target, (run,), test, test.set_axis(["r", "s"]), truth, 0.9, test.index)
    assert fold.pseudo_labels(hard=True).equals(pd.DataFrame([[0.0, 1], [1, np.nan]], ["a", "b"], ["x", "y"]))
    assert fold.pseudo_labels(hard=False).loc["a"].tolist() == [0.02, 0.97]
    lines = [(line["class"], line["of"], line["taken"], line["mean confidence"]) for line in count_by_class(fold)]
    assert lines == [("x", 1, 1, "0.9500"), ("y", 1, 1, "0.9700")]
    summary = summarize_fold(fold)  # of three known labels all are confident, and x of row s is wrong
    assert summary["held-out labels as confident"] == "3 of 3" and summary["of them right"] == "0.6667"
    with pytest.raises(ValueError, match="pseudo-labels are chosen by probabilities, which a target of numbers does"):
        NUMBERS.confidence(np.zeros((1, 2)))
