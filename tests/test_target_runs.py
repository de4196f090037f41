"""Snapshots, items, soups, pseudo-labels and tuning of several labels, numbers and grades, as commands run them.

One network a target is trained on images in pairs (items). PyTorch alone: the targets' arithmetic is compared on both
backends in test_train_targets.py.
"""

import shutil

import conftest
import cv2
import numpy as np
import pandas as pd
import pytest

from kcomp import data, metrics
from kcomp.runs.folder import Run
from kcomp.system.backends import is_installed
from kcomp.system.files import write_json

pytestmark = pytest.mark.skipif(not is_installed("torch"), reason="torch is not installed")

KINDS = ("labels", "numbers", "grades")
RECIPE = '''
from dataclasses import dataclass
from typing import Annotated, Literal
import keras
import numpy as np
from keras import layers
from kcomp import data, models, schedules, space, targets
from kcomp.averaging import Snapshots
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    kind: Literal["labels", "numbers", "grades"] = "labels"
    rate: Annotated[float, space.Uniform(0.02, 0.05)] = 0.03
    pseudo: str = ""

def rows_of(config, first, last):
    """Items of two images, with the labels of the first; three folds."""
    rows = data.sklearn_digits().rows(np.arange(first, last))
    digits = np.repeat(rows.labels.argmax(1)[::2], 2)
    labels, target = {
        "labels": (np.stack([digits % 2, digits > 4], 1), targets.AnyOf(("odd", "large"))),
        "numbers": (1000.0 + 50 * digits[:, None], targets.Numbers(("grams",))),
        "grades": (digits[:, None] // 2, targets.Grades(("A", "B", "C", "D", "E"))),
    }[config.kind]
    items = np.arange(len(digits)) // 2
    frame = rows.frame[["image_id", "image"]].reset_index(drop=True)
    frame[list(target.columns)] = labels.astype(np.float32)
    return data.Table(frame.assign(item=[f"p{item}" for item in items], fold=items % 3), target, item_column="item")

def table(config):
    rows = rows_of(config, 0, 96)
    return data.with_pseudo(rows, config.pseudo, test=test(config)) if config.pseudo else rows

def test(config): return rows_of(config, 96, 108)

def batches(config, rows, training, seed):
    return data.Batches(rows, 8, batch_size=16, training=training, seed=seed)

def model(config, target):
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(inputs))
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.0)

def stages(config):
    rate = schedules.CosineRestarts(config.rate, epochs=2, cycles=2)
    return [Stage("all", 2, "all", keras.optimizers.Adam(rate), average=Snapshots())]

recipe = Recipe(Config(), table=table, test=test, batches=batches, model=model, stages=stages, keep="last")
'''
SOUP = """
import sys
from kcomp.runs.folder import Run
from kcomp.runs.scorer import scorer_of
from kcomp.soup.choose import choose_soup
from kcomp.soup.make import SoupBuilder, write_soup
first, second, output = map(Run, sys.argv[1:])
builder, scorer = SoupBuilder([first, second]), scorer_of([first, second])
choice = choose_soup(builder.evaluate, 2, builder.labels, method="uniform", scorer=scorer)
write_soup(builder, output, choice, method="uniform", seconds=1.0)  # whether or not it gains
builder.network.set_weights([(one + other) / 2 for one, other in zip(*builder.weights)])
give(predicted=builder.predict_held_out().tolist())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("targets")
    (path / "small.py").write_text(RECIPE)
    (path / "images").mkdir()
    for number, image in enumerate(data.sklearn_digits().images[96:100]):
        cv2.imwrite(str(path / "images" / f"t{number}.png"), image)
    (path / "items.csv").write_text("image_id,item\nt0,p\nt1,q\nt2,p\nt3,q\n")
    (path / "images.csv").write_text("image_id\nt0\nt1\nt2\nt3\n")
    return path


@pytest.fixture(scope="module")
def trained(folder):
    """A function that returns the run of a kind of target."""

    def run_of(kind):
        run = Run(folder / kind)
        if not run.complete:
            conftest.kcomp("train", "small.py", "--set", f"kind={kind}", "-o", kind, backend="torch", cwd=folder)
        return run

    return run_of


@pytest.mark.parametrize("kind", KINDS)
def test_snapshots_are_averaged_and_scored_by_item(kind, trained):
    run = trained(kind)
    oof, labels, target = run.oof, run.labels, run.target
    assert list(oof.index) == list(labels.index) == [f"p{item}" for item in range(0, 48, 3)]
    assert target.prediction_problems(oof.to_numpy(), list(oof.index)) == []
    assert len(run.weights) == 2 and len(run.result["average"]["scores"]) == 2
    metric = metrics.get(run.result["metric"])
    score = metric(labels.to_numpy(), oof.to_numpy(), target)
    assert run.result["scores"][metric.name] == pytest.approx(score, rel=1e-5)
    first, second = (path.read_bytes() for path in run.weights)
    assert first != second


@pytest.mark.parametrize("kind", KINDS)
def test_test_rows_of_items_are_the_mean_of_their_images(kind, trained, folder):
    run = trained(kind)
    predicted = {}
    for name in ("items", "images"):
        options = ("--test", f"{name}.csv", "-o", f"{kind}-{name}")
        conftest.kcomp("predict", run.folder, *options, backend="torch", cwd=folder)
        [path] = (folder / f"{kind}-{name}").glob("*.csv")
        predicted[name] = pd.read_csv(path, index_col="image_id")
    images = predicted["images"].to_numpy()
    assert list(predicted["items"].index) == ["p", "q"] and len(images) == 4
    np.testing.assert_allclose(predicted["items"].to_numpy(), (images[:2] + images[2:]) / 2, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_soup_predicts_with_the_mean_of_the_weights(kind, trained, folder):
    """The ingredients are the snapshots of one run, as two runs of other seeds."""
    run, output = trained(kind), Run(folder / f"{kind}-soup")
    copies = [Run(folder / f"{kind}-{number}") for number in (1, 2)]
    for number, copy in enumerate(copies, 1):
        shutil.copytree(run.folder, copy.folder)
        shutil.copy(run / "snapshots" / f"{number}.weights.h5", copy / "best.weights.h5")
        write_json(copy / "manifest.json", run.manifest | {"seed": number})
    printed = conftest.in_backend("torch", SOUP, *[one.folder for one in (*copies, output)])
    predicted, target = np.array(printed["predicted"]), run.target
    np.testing.assert_allclose(output.oof.to_numpy(), predicted, rtol=1e-5)
    assert output.complete and output.target == target and list(output.oof.index) == list(run.oof.index)
    assert target.prediction_problems(predicted, list(output.oof.index)) == []
    assert (np.abs(predicted - run.oof.to_numpy()) / target.unit).max() > 1e-5  # the run averages predictions


def test_pseudo_labels_of_items_are_trained_on(trained, folder):
    """Both images of a test item get its labels. Of numbers and grades there are none."""
    run = trained("labels")
    conftest.kcomp("predict", run.folder, backend="torch", cwd=folder)
    options = ("--fold", "0", "--threshold", "0.5", "-o", "pseudo.csv")
    conftest.kcomp("pseudo", run.folder, *options, backend="torch", cwd=folder)
    rows = pd.read_csv(folder / "pseudo.csv")
    assert len(rows) == 12 and (rows[["odd", "large"]][::2].to_numpy() == rows[["odd", "large"]][1::2].to_numpy()).all()
    options = ("--set", "pseudo=pseudo.csv", "-o", "student")
    printed = conftest.kcomp("train", "small.py", *options, backend="torch", cwd=folder).stdout
    assert "trains on 76 rows, 12 of them pseudo-labelled" in printed
    assert list(Run(folder / "student").oof.index) == list(run.oof.index)


def test_pseudo_labels_of_grades_are_refused_and_a_recipe_without_test_rows_is_named(trained, folder):
    run = trained("grades")
    conftest.kcomp("predict", run.folder, backend="torch", cwd=folder)
    refused = conftest.kcomp("pseudo", run.folder, "--fold", "0", "-o", "no.csv", cwd=folder, check=False)
    assert refused.stderr.startswith("kcomp: pseudo-labels are chosen by probabilities, which a target of grades")
    copy = folder / "without"
    shutil.copytree(run.folder, copy)
    (copy / "recipe" / "small.py").write_text(RECIPE.replace(" test=test, ", " "))
    refused = conftest.kcomp("predict", copy, backend="torch", cwd=folder, check=False)
    assert f"the recipe of {copy} has no test rows; name them with --test" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_of_each_target(kind, folder):
    pytest.importorskip("optuna")
    options = ("--set", f"kind={kind}", "--trials", "1", "--storage", f"{kind}.journal", "--backend", "torch")
    done = conftest.kcomp("tune", "small.py", *options, cwd=folder)
    name = {"labels": "roc_auc", "numbers": "mae", "grades": "quadratic_kappa"}[kind]
    assert f"trial 0: {name} " in done.stdout
