"""Stacking by bagged and boosted trees, on out-of-fold predictions and further inputs."""

import importlib.util

import conftest
import cv2
import numpy as np
import pandas as pd
import pytest
from test_ensemble import make_run
from test_ensemble_targets import TARGETS, made_up

from kcomp import data, metrics
from kcomp.ensembles import TREES
from kcomp.ensembles.inputs import as_numbers, column_inputs, feature_inputs, join_inputs
from kcomp.ensembles.methods import fitting, trees
from kcomp.metrics.scores import Scorer
from kcomp.targets import OneOf

KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(importlib.util.find_spec("lightgbm") is None, reason="no LightGBM"))
    if kind == "lightgbm"
    else kind
    for kind in TREES
]


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(trees, "ROUNDS", 40)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TARGETS)
def test_every_target(kind, name):
    target = TARGETS[name]
    values, labels = made_up(target, members=2, rows=70)
    scorer = Scorer(metrics.get(target.default_metric), target)
    fitted = fitting.fit_method(kind, values, labels, scorer)
    found = fitted(values)
    ids = [str(row) for row in range(len(found))]
    assert found.shape == values.shape[1:] and not target.prediction_problems(found, ids)
    np.testing.assert_array_equal(found, fitting.fit_method(kind, values, labels, scorer)(values))  # no chance


@pytest.mark.parametrize("kind", KINDS)
def test_random_labels_gain_nothing(kind):
    """Members and inputs know nothing, so the nested accuracy is that of chance. On the fitted rows it is far above."""
    draws = np.random.default_rng(0)
    values, labels = draws.dirichlet(np.ones(3), (2, 240)), np.eye(3)[draws.integers(0, 3, 240)]
    inputs, scorer = draws.normal(0, 1, (240, 4)), Scorer(metrics.accuracy, OneOf(("a", "b", "c")))
    unseen = fitting.predict_unseen(kind, values, labels, scorer, np.arange(240) % 4, inputs=inputs)
    assert abs(scorer(labels, unseen) - 1 / 3) < 0.1
    fitted = fitting.fit_method(kind, values, labels, scorer, inputs=inputs)(values, inputs)
    assert scorer(labels, fitted) > 0.45


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_and_own_labels(kind):
    """An input that is the class is used. The labels of a part do not change its nested predictions."""
    draws = np.random.default_rng(1)
    classes = draws.integers(0, 3, 200)
    values, labels = draws.dirichlet(np.ones(3), (1, 200)), np.eye(3)[classes]
    inputs = np.where(draws.random((200, 1)) < 0.1, np.nan, classes[:, None].astype(float))
    scorer, parts = Scorer(metrics.accuracy, OneOf(("a", "b", "c"))), np.arange(200) % 4
    unseen = fitting.predict_unseen(kind, values, labels, scorer, parts, inputs=inputs)
    assert scorer(labels, unseen) > 0.75
    changed = labels.copy()
    changed[parts == 1] = labels[parts == 1][:, [1, 2, 0]]
    other = fitting.predict_unseen(kind, values, changed, scorer, parts, inputs=inputs)
    np.testing.assert_array_equal(unseen[parts == 1], other[parts == 1])
    assert not np.allclose(unseen[parts != 1], other[parts != 1])


def test_missing_and_constant_labels():
    """A label that is always 0, and a class without a row: the mean of the members, and the floor."""
    target = TARGETS["any"]
    values, labels = made_up(target, rows=60)
    labels[:, 0] = 0
    found = trees.fit("bag", values, labels, target)(list(values), None)
    np.testing.assert_allclose(found[:, 0], values.mean(0)[:, 0])
    three = OneOf(("a", "b", "c"))
    values = np.random.default_rng(0).dirichlet(np.ones(3), (1, 50))
    labels = np.eye(3)[np.arange(50) % 2]
    found = trees.fit("boost", values, labels, three)(list(values), None)
    np.testing.assert_allclose(found[:, 2], 1 / 52 / (1 + 1 / 52), rtol=1e-6)
    alone = trees.fit("bag", values, np.eye(3)[np.zeros(50, int)], three)(list(values), None)
    np.testing.assert_allclose(alone, values[0])


def table_of(ids, target=None, **columns):
    frame = pd.DataFrame({"image_id": ids, "image": [np.zeros((4, 4, 3), np.uint8)] * len(ids)})
    return data.Table(frame.assign(**columns), target)


def test_columns_and_features_of_tables():
    target = OneOf(("a", "b"))
    own = {"csv:age": ["3", "", "5"], "csv:sex": ["f", "m", "f"], "csv:only": ["1", "2", "3"], "item": ["p", "p", "q"]}
    train = table_of(["x", "y", "z"], target, a=[1, 1, 0], b=[0, 0, 1], **own)
    test = table_of(["t", "u"], **{"csv:sex": ["m", "d"], "csv:age": ["7", "8"]})
    columns = column_inputs(train, test)
    np.testing.assert_array_equal(columns.of_held_out(pd.Index(["q", "p"])), [[5, 1], [3, 1.5]])  # d 0, f 1, m 2
    np.testing.assert_array_equal(columns.of_test(pd.Index(["t", "u"])), [[7, 2], [8, 0]])
    features = feature_inputs(train, test, [np.array([[1.0], [3.0], [4.0]]), np.array([[5.0], [6.0]])])
    both = join_inputs([columns, features])
    np.testing.assert_array_equal(both.of_held_out(pd.Index(["p"])), [[3, 1.5, 2]])
    with pytest.raises(ValueError, match="the recipe's test rows, which lack 1 predicted ids, first 'v'"):
        both.of_test(pd.Index(["t", "v"]))
    with pytest.raises(ValueError, match=r"columns that the labelled and the test rows have in common.*'age'.*\[\]"):
        column_inputs(train, table_of(["t"]))
    np.testing.assert_array_equal(as_numbers(pd.Series(["1e3", None, "2"])), [1000, np.nan, 2])


def test_the_command(tmp_path):
    ids = [f"r{number}" for number in range(60)]  # `make_run` gives row n the class n modulo 3
    draws = np.random.default_rng(0)
    oof = pd.DataFrame(draws.dirichlet(np.ones(3), 60), ids, list("xyz"))
    test = pd.DataFrame(draws.dirichlet(np.ones(3), 5), [f"t{number}" for number in range(5)], list("xyz"))
    make_run(tmp_path / "run", oof=oof, test=test)
    done = conftest.kcomp("ensemble", "run", "--method", "boost", "-o", "out.csv", cwd=tmp_path)
    assert "boost of 1 against the plain mean" in done.stdout and "nested cross-validation over 5 parts" in done.stdout
    written = pd.read_csv(tmp_path / "out.csv")
    assert written.image_id.tolist() == list(test.index)
    np.testing.assert_allclose(written[list("xyz")].sum(axis=1), 1, atol=1e-5)
    for arguments, message in (
        (["--with", "rows", "--method", "boost"], "--with takes columns, features, or both"),
        (["--with", "columns"], "--with gives inputs to trees: --method bag, boost, lightgbm; received --method mean"),
        (["--with", "columns", "--method", "bag", "--group-by", "seed"], "leave out --group-by"),
    ):
        done = conftest.kcomp("ensemble", "run", *arguments, cwd=tmp_path, check=False)
        assert done.returncode == 2 and message in done.stderr


CSV_RECIPE = """
from dataclasses import dataclass
import keras
from keras import layers
from kcomp import data
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    epochs: int = 1

def table(config):
    return data.stratified_folds(data.read_csv("train.csv", "images", label="label"), 2, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 8, batch_size=20, training=training, seed=seed)

def model(config, target):
    network = [keras.Input((8, 8, 3)), layers.Conv2D(2, 3, name="low"), layers.GlobalAveragePooling2D()]
    return keras.Sequential([*network, layers.Dense(target.outputs, name="head")])

def stages(config):
    return [Stage("all", config.epochs, "all", keras.optimizers.Adam(1e-4))]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages,
                test=lambda config: data.read_test("test.csv", "images"))
"""


@pytest.mark.parametrize("extras", ["columns", pytest.param("columns,features", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_columns_and_features_of_a_recipe(backend, extras, tmp_path):
    """The column `place` says the class, and the images are noise."""
    draws, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    for number in range(100):
        cv2.imwrite(str(folder / f"i{number}.png"), draws.integers(0, 256, (8, 8, 3), np.uint8))
    rows = pd.DataFrame({"image_id": [f"i{number}" for number in range(100)], "label": list("abca") * 25})
    rows["place"] = rows["label"].map({"a": "sea", "b": "hill", "c": "town"})
    rows[:80].to_csv(tmp_path / "train.csv", index=False)
    rows[80:].drop(columns="label").to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "places.py").write_text(CSV_RECIPE)
    conftest.kcomp("train", "places.py", "--fold", "all", backend=backend, cwd=tmp_path)
    conftest.kcomp("predict", "runs", backend=backend, cwd=tmp_path)
    call = ["ensemble", "runs", "--method", "boost", "--metric", "accuracy", "--with", extras, "-o", "out.csv"]
    done = conftest.kcomp(*call, backend=backend, cwd=tmp_path)
    written = pd.read_csv(tmp_path / "out.csv").set_index("image_id")
    assert (written.idxmax(axis=1) == rows.set_index("image_id").label[80:]).mean() > 0.9
    scored = " ".join(done.stdout.split()).split("the folds of the runs): accuracy ")[1]
    assert float(scored[:6]) > 0.9
    assert ("features" in extras) == bool(done.stderr)  # names the network
