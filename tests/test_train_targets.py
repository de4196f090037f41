"""`kcomp train` and `kcomp predict` of several labels, numbers and grades, with missing labels, on both backends."""

import numpy as np
import pandas as pd
import pytest
from conftest import backends, kcomp

from kcomp import metrics
from kcomp.runs.folder import Run

RECIPE = '''
from dataclasses import dataclass
from typing import Literal
import keras
import numpy as np
from keras import layers
from kcomp import augment, data, models, targets
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    kind: Literal["labels", "numbers", "grades"] = "labels"

def labels_of(config, digits):
    """The target and the labels (rows, columns) of digits; a tenth of the labels is missing, except of grades."""
    missing = np.random.default_rng(0).random((len(digits), 2)) < 0.1
    if config.kind == "labels":
        labels, target = np.stack([digits % 2, digits > 4], 1), targets.AnyOf(("odd", "large"))
    elif config.kind == "numbers":
        labels, target = np.stack([1000 + 50 * digits, digits / 10], 1), targets.Numbers(("grams", "cm"))
    else:
        return digits[:, None] // 2, targets.Grades(("A", "B", "C", "D", "E"), loss_name="ordinal")
    return np.where(missing, np.nan, labels), target

def everything(config):
    rows = data.sklearn_digits().rows(np.arange(96))
    labels, target = labels_of(config, rows.labels.argmax(1))
    frame = rows.frame[["image_id", "image"]].reset_index(drop=True)
    for name, values in zip(target.columns, labels.T, strict=True):
        frame[name] = values.astype(np.float32)
    return data.Table(frame.assign(fold=np.arange(96) % 3), target)

def table(config): return everything(config)

def test(config): return everything(config).rows(np.arange(20))

def batches(config, rows, training, seed):
    layers = [augment.Switch(augment.MixUp(0.4), augment.CutMix(1.0))]
    return data.Batches(rows, 8, batch_size=16, training=training, seed=seed, layers=layers)

def model(config, target):
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(inputs))
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.0)

def stages(config):
    weights = None if config.kind == "numbers" else "balanced"
    smoothing = 0.0 if config.kind == "numbers" else 0.1
    return [Stage("all", 2, "all", keras.optimizers.Adam(3e-2), class_weights=weights, label_smoothing=smoothing)]

recipe = Recipe(Config(), table=table, test=test, batches=batches, model=model, stages=stages)
'''

SCORES = {"labels": "roc_auc", "numbers": "mae", "grades": "quadratic_kappa"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("targets")
    (path / "small.py").write_text(RECIPE)
    return path


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("backend", backends())
def test_a_target_trains_and_predicts(backend, kind, folder):
    run = Run(folder / f"{backend}-{kind}")
    printed = kcomp("train", "small.py", "--set", f"kind={kind}", "-o", run.folder, backend=backend, cwd=folder).stdout
    kcomp("predict", run.folder, backend=backend, cwd=folder)
    target, oof, labels, test = run.target, *map(run.probabilities, ("oof", "labels", "test"))
    assert target.describe(labels.to_numpy())[:9] in printed  # as in "2 labels, with rows: ..."
    assert tuple(labels.columns) == target.columns
    assert tuple(oof.columns) == tuple(test.columns) == target.prediction_columns
    for predictions in (oof, test):
        assert target.prediction_problems(predictions.to_numpy(), list(predictions.index)) == []
    metric = metrics.get(target.default_metric)
    assert metric.name == SCORES[kind] == next(iter(run.result["scores"]))
    score = metric(labels.to_numpy(), oof.loc[labels.index].to_numpy(), target)
    assert run.result["scores"][metric.name] == pytest.approx(score, rel=1e-5)
    log = pd.read_csv(run / "log.csv")
    assert len(log) == 2 and np.isfinite(log.loss).all() and log.loss[0] != log.loss[1]


@pytest.mark.parametrize("kind", SCORES)
def test_both_backends_learn_the_same(kind, folder):
    runs = [Run(folder / f"{backend}-{kind}") for backend in ("jax", "torch")]
    if not all(run.complete for run in runs):
        pytest.skip("needs the runs of both backends")
    losses = [pd.read_csv(run / "log.csv").loss for run in runs]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    assert runs[0].target == runs[1].target


def test_numbers_are_in_their_own_units(folder):
    run = Run(folder / "torch-numbers")
    if not run.complete:
        pytest.skip("needs the run of PyTorch")
    assert 1100 < run.target.mean[0] < 1300 and 100 < run.target.scale[0] < 200
    assert run.probabilities("test")["grams"].between(1000, 1500).all()


def test_class_weights_of_numbers_are_refused(folder):
    source = RECIPE.replace('None if config.kind == "numbers" else "balanced"', '"balanced"')
    (folder / "weighted.py").write_text(source)
    done = kcomp("train", "weighted.py", "--set", "kind=numbers", backend="torch", cwd=folder, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("class_weights need classes; the target is numbers")
