"""Model soups: the mean of weights by hand, what is refused, statistics against NumPy, and both frameworks in one."""

import json
import shutil

import conftest
import numpy as np
import pandas as pd
import pytest
from test_snapshots import RECIPE, arrays_of

from kcomp import metrics
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run, made_by, member_of
from kcomp.targets import OneOf

TRAIN = ("train", "recipe.py", "--set", "average=none", "--set", "epochs=3", "--set", "schedule=cosine")

# Makes runs in a folder whose weights are those of a trained run plus a multiple of one draw of noise.
MAKE = """
import shutil, sys
import numpy as np
from pathlib import Path
from kcomp.prediction.forward import compile_forward, predict_rows
from kcomp.metrics import log_loss
from kcomp.metrics.scores import Scorer
from kcomp.data import split
from kcomp.system.files import write_json, read_json
from kcomp.prediction.runs import trained_network
from kcomp.runs.probabilities import write_probabilities
from kcomp.runs.folder import Run
trained, folder = Run(Path(sys.argv[1])), Path(sys.argv[2])
recipe = trained.recipe().recipe
network = trained_network(trained, recipe)
held_out = split(recipe.table(recipe.config), 0)[1]
rows = recipe.batches(recipe.config, held_out, training=False, seed=0)
forward = compile_forward(network)
weights, draws = network.get_weights(), np.random.default_rng(0)
noise = [draws.normal(0, 0.2, array.shape) * (array.std() + 0.01) for array in weights]
if "frozen" in sys.argv:
    norms = [layer for layer in network.layers if "bn" in layer.name]
    kept = {id(variable) for layer in norms for variable in (layer.moving_mean, layer.moving_variance)}
    noise = [array * (id(variable) not in kept) for array, variable in zip(noise, network.weights)]
def make(name, share, seed):
    run = Run(folder / name)
    for part in ("recipe", "config.json"):
        (shutil.copytree if part == "recipe" else shutil.copy)(trained / part, (run.folder.mkdir(parents=True, exist_ok=True) or run) / part)
    write_json(run / "manifest.json", {**trained.manifest, "seed": seed})
    network.set_weights([array + share * one for array, one in zip(weights, noise)])
    network.save_weights(run / "best.weights.h5")
    found = predict_rows(forward, rows, trained.target)
    write_probabilities(run / "oof.csv", held_out.ids, held_out.columns, found)
    write_probabilities(run / "labels.csv", held_out.ids, held_out.columns, held_out.labels)
    score = Scorer(log_loss, trained.target).all(held_out.labels, found)
    write_json(run / "result.json", {"scores": score, "metric": "log_loss", "keep": "last", "epoch": 1, "rows": len(held_out), "seconds": 1.0})
    return score["log_loss"]
made = [make(f"run{number}", float(share), number) for number, share in enumerate(sys.argv[3].split(","))]
give(made=made)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soup")
    (folder / "recipe.py").write_text(RECIPE)
    for backend in ("jax", "torch"):
        conftest.kcomp(*TRAIN, "--seed", "3", "-o", backend, backend=backend, cwd=folder)
    return folder


def score_of(run):
    return json.loads((run / "result.json").read_text())["scores"]["log_loss"]


def soup(folder, *names, check=True, backend="torch", method="greedy"):
    arguments = [folder / name for name in names]
    return conftest.kcomp(
        "soup", *arguments, "--method", method, "-o", folder / "soup", backend=backend, cwd=folder, check=check
    )


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_the_mean_of_two_files_is_a_run_like_any_other(trained, backend, tmp_path):
    """Noise and its opposite: the mean of the weights are the trained ones."""
    made = conftest.in_backend(backend, MAKE, trained / backend, tmp_path, "-1,1", "frozen")["made"]
    done = soup(tmp_path, "run1", "run0", backend=backend, method="uniform")
    one, two, mixed = (arrays_of(tmp_path / name / "best.weights.h5") for name in ("run0", "run1", "soup"))
    assert one.keys() == mixed.keys()
    for name, array in mixed.items():
        np.testing.assert_allclose(array, (one[name].astype(float) + two[name]) / 2, atol=1e-7)
    run = Run(tmp_path / "soup")
    assert score_of(run) == pytest.approx(score_of(trained / backend), rel=1e-3) and score_of(run) < min(made)
    expected = pd.read_csv(trained / backend / "oof.csv")
    pd.testing.assert_frame_equal(pd.read_csv(run / "oof.csv"), expected, atol=1e-4, check_exact=False)
    assert (run / "labels.csv").read_bytes() == (trained / backend / "labels.csv").read_bytes()
    told = run.result["soup"]
    assert not told["statistics_estimated"] and told["best_ingredient"] == pytest.approx(min(made), abs=1e-6)
    assert told["chosen_on_these_rows"] and told["unseen"]["soup"] == pytest.approx(
        score_of(run)
    )  # a uniform one chooses nothing
    assert f"{score_of(run):.4f} out of fold" in done.stdout and "On rows that the choice did not see" in done.stdout
    kept = run.manifest
    assert made_by(kept) == member_of(kept) == f"soup-{kept['soup']['key']}" and kept["seed"] == 0
    assert [one["seed"] for one in kept["soup"]["ingredients"]] == [0, 1] and len(
        kept["soup"]["ingredients"][0]["sha256"]
    ) == 64
    conftest.kcomp("predict", tmp_path, "--views", "none", backend=backend, cwd=tmp_path)
    joined = conftest.kcomp("ensemble", tmp_path, "-o", tmp_path / "all.csv", cwd=tmp_path).stdout
    assert made_by(kept) in joined and "mean of 3" in joined
    again = soup(tmp_path, "run1", "run0", check=False)
    assert again.returncode == 1 and "holds a run already" in again.stderr
    train = conftest.kcomp(
        "train",
        tmp_path / "soup/recipe/recipe.py",
        *TRAIN[2:],
        "-o",
        tmp_path / "soup",
        backend=backend,
        cwd=tmp_path,
        check=False,
    )
    assert train.returncode == 1 and "holds a soup, which is not trained" in train.stderr


@pytest.mark.parametrize("backend", conftest.backends()[1:])
def test_greedy_leaves_out_what_harms_and_refuses_what_does_not_gain(trained, backend, tmp_path):
    made = conftest.in_backend(backend, MAKE, trained / backend, tmp_path, "-1,1,40,1.05,0.01")["made"]
    assert made[2] > 1.5 * made[0]
    for name, change in (("fold", 1), ("table", "x")):
        shutil.copytree(tmp_path / "run1", tmp_path / name)
        kept = json.loads((tmp_path / name / "manifest.json").read_text())
        (tmp_path / name / "manifest.json").write_text(json.dumps(kept | {name: change}))
    cases = (
        ("greedy", ("run0", "run2"), f"no other run could be added without a loss to log_loss {made[0]:.4f}"),
        ("uniform", ("run0", "run2"), f"is no gain over log_loss {made[0]:.4f} of the best ingredient"),
        ("uniform", ("run0",), "takes two runs or more"),
        ("greedy", ("run0", "fold"), "must be of one fold"),
        ("greedy", ("run0", "table"), "must be of the same table"),
    )
    calls = [
        ["soup", *(str(tmp_path / name) for name in names), "--method", method, "-o", str(tmp_path / f"soup{number}")]
        for number, (method, names, _) in enumerate(cases)
    ]
    names = ("run0", "run1", "run2", "run3")
    calls.append(["soup", *(str(tmp_path / name) for name in names), "-o", str(tmp_path / "soup")])
    *refused, (code, told, _) = conftest.commands(backend, calls)
    for number, ((exit_code, _, error), (_, _, message)) in enumerate(zip(refused, cases)):
        assert exit_code == 1 and message in error and error.count("\n") == 1, error
        assert not (tmp_path / f"soup{number}").exists()
    assert code == 0 and f"left out  {tmp_path}/run2" in told and "kept      " + str(tmp_path / "run0") in told
    assert score_of(tmp_path / "soup") < min(made[:2])


@pytest.mark.parametrize(("first", "second"), [("jax", "torch")])
def test_across_frameworks(trained, first, second, tmp_path):
    """A run of each: both backends make the same soup and score the other's run as it scored itself."""
    for name in (first, second):
        shutil.copytree(trained / name, tmp_path / name)
    scores = {name: score_of(tmp_path / name) for name in (first, second)}
    for cook in (first, second):
        done = soup(tmp_path, first, second, backend=cook, method="uniform")
        told = Run(tmp_path / "soup").result["soup"]
        assert told["best_ingredient"] == pytest.approx(min(scores.values()), rel=1e-3)
        assert score_of(tmp_path / "soup") < min(scores.values()) and "of 2 of 2 runs" in done.stdout
        (tmp_path / "soup").rename(tmp_path / f"by-{cook}")
    one, two = (pd.read_csv(tmp_path / f"by-{cook}" / "oof.csv").drop(columns="image_id") for cook in (first, second))
    if not Run(tmp_path / f"by-{first}").result["soup"]["statistics_estimated"]:  # dropout is each framework's own
        np.testing.assert_allclose(one, two, atol=1e-4)


ESTIMATE = """
import keras
import numpy as np
from keras import layers
from kcomp import augment, data
from kcomp.fast.install import patched
from kcomp.training.averages.batch_norm import estimate
table = data.sklearn_digits().rows(np.arange(100))
batches = data.Batches(table, 8, batch_size=16, training=True, seed=1, layers=[augment.MixUp(0.4)])
x = inputs = keras.Input((8, 8, 3))
x = layers.BatchNormalization(name="first", epsilon=1e-3)(layers.Rescaling(1 / 50)(x))
x = layers.Dropout(0.0)(layers.ReLU()(x))
x = layers.BatchNormalization(name="second")(x)
x = layers.BatchNormalization(name="frozen")(layers.Dropout(0.5)(x))
network = keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))
first, second, frozen = (network.get_layer(name) for name in ("first", "second", "frozen"))
first.set_weights([np.array([1.5, 1, 2.0]), np.array([0.5, 0, -0.1]), np.full(3, 9.0), np.full(3, 7.0)])
frozen.set_weights([np.ones(3), np.zeros(3), np.full(3, 0.3), np.full(3, 0.6)])
frozen.trainable = False
with patched(True):
    for _ in range(2):  # what was there before does not matter
        estimate(network, [first, second], batches, epoch=2, layers=batches.layers)
expected = []
for batch in batches.epochs(2, 1):
    [plan] = batch["plans"]
    mixed = batches.layers[0]({"images": batch["images"], "labels": batch["labels"]}, plan=plan)["images"]
    x = keras.ops.convert_to_numpy(mixed).astype(np.float64) / 50
    axes, found = (0, 1, 2), []
    found += [x.mean(axes), x.var(axes)]
    x = np.maximum((x - found[0]) / np.sqrt(found[1] + 1e-3) * [1.5, 1, 2.0] + [0.5, 0, -0.1], 0)
    found += [x.mean(axes), x.var(axes)]
    expected.append(found)
values = [keras.ops.convert_to_numpy(v) for layer in (first, second) for v in (layer.moving_mean, layer.moving_variance)]
give(expected=np.mean(expected, 0).tolist(), found=np.array(values).tolist(), trainable=[l.trainable for l in (first, second, frozen)],
     momentum=first.momentum, frozen=[keras.ops.convert_to_numpy(w).tolist() for w in frozen.weights[2:]])
"""


@pytest.mark.parametrize("backend", conftest.backends())
def test_statistics_are_the_mean_over_training_batches(backend):
    found = conftest.in_backend(backend, ESTIMATE)
    np.testing.assert_allclose(found["found"], found["expected"], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found["frozen"], [[0.3] * 3, [0.6] * 3], rtol=1e-6)
    assert found["trainable"] == [True, True, False] and found["momentum"] == 0.99


def test_greedy_and_its_honest_score_by_hand():
    """Three runs on four rows; averaging the first two helps, the third harms; each half is judged by the other."""
    from kcomp.ensembles.cross_validation import stratified_parts
    from kcomp.soup.choose import Candidate, choose_soup

    scorers = {name: Scorer(metrics.get(name), OneOf(("a", "b"))) for name in ("log_loss", "accuracy")}
    labels = np.eye(2)[[0, 1, 0, 1] * 4]
    right = np.tile([0.8, 0.6, 0.8, 0.6], 4)
    wrong = np.full(16, 0.3)
    table = {
        (0,): right,
        (1,): right - 0.1,
        (2,): wrong,
        (0, 1): right + 0.1,
        (0, 2): wrong,
        (0, 1, 2): wrong,
        (1, 2): wrong,
    }

    def evaluate(members):
        share = table[members][:, None]
        return [Candidate(members, labels * share + (1 - labels) * (1 - share))]

    found = choose_soup(evaluate, 3, labels, method="greedy", scorer=scorers["log_loss"])
    assert found.soup.members == (0, 1) and found.best.members == (0,) and found.gains
    assert found.score == pytest.approx(-np.mean(np.log(right + 0.1))) == pytest.approx(found.unseen_score)
    assert found.unseen_best_score == pytest.approx(found.best_score) == pytest.approx(-np.mean(np.log(right)))
    harmful = choose_soup(evaluate, 3, labels, method="uniform", scorer=scorers["log_loss"])
    assert harmful.soup.members == (0, 1, 2) and not harmful.gains
    assert not choose_soup(
        evaluate, 3, labels, method="greedy", scorer=scorers["accuracy"]
    ).gains  # all right with the best alone
    halves = stratified_parts(labels.argmax(1), 2)
    ours = np.where(halves == 0, 0.9, 0.5)  # one run is good on one half, the other on the other: each choice is wrong

    def evaluate_halves(members):
        share = np.mean([ours, 1.4 - ours], 0, where=[[n in members] * 16 for n in (0, 1)])[:, None] * 1.0
        return [Candidate(members, labels * share + (1 - labels) * (1 - share))]

    unlucky = choose_soup(evaluate_halves, 2, labels, method="greedy", scorer=scorers["log_loss"])
    assert unlucky.unseen_best_score == pytest.approx(-np.log(0.5)) and unlucky.best_score < 0.4
