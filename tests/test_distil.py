"""Soft labels of training rows: who predicts them, blends by hand, and a student on both backends."""

import json

import conftest
import numpy as np
import pandas as pd
import pytest
from test_pseudo import CLASSES, IDS, frame, labelled, make_run, unlabelled

from kcomp import data
from kcomp.data.pseudo import KIND, write_pseudo
from kcomp.ensembles.pseudo_labels import group_teachers
from kcomp.ensembles.soft_labels import label_training_rows
from kcomp.runs.folder import Run
from kcomp.runs.probabilities import write_probabilities
from kcomp.targets import AnyOf

ROWS = [f"r{number}" for number in range(9)]  # of class number % 3, in fold number % 3


def runs_of_three_folds(tmp_path):
    table = labelled(ROWS, folds=(0, 1, 2))
    runs = []
    for fold in range(3):
        for seed in (0, 1):
            folder = tmp_path / f"{fold}{seed}"
            runs.append(make_run(folder, None, fold=fold, seed=seed, table=table, folds=[0, 1, 2]))
            ids = ROWS[fold::3]
            top = 0.6 + 0.1 * fold + 0.1 * seed  # the mean of both seeds is 0.65, 0.75, 0.85
            write_probabilities(folder / "oof.csv", ids, CLASSES, np.float64([[top, 1 - top, 0]] * 3))
    return table, runs


def file_of(tmp_path, table, runs, students=(0, 1, 2)):
    rows = label_training_rows(group_teachers(runs), students).assign(image=None, **{KIND: "training"})
    write_pseudo(tmp_path / "soft.csv", rows, CLASSES, table.fingerprint())
    return tmp_path / "soft.csv"


def test_a_row_is_labelled_by_the_runs_that_held_it_out(tmp_path):
    table, runs = runs_of_three_folds(tmp_path)
    rows = label_training_rows(group_teachers(runs), [1])
    assert rows["image_id"].tolist() == ["r0", "r2", "r3", "r5", "r6", "r8"] and set(rows["fold"]) == {1}
    np.testing.assert_allclose(rows["x"], [0.65, 0.85] * 3)
    whole = data.with_pseudo(table, file_of(tmp_path, table, runs), weight=0.25)
    training, held_out = data.split(whole, 1)
    assert training.ids == rows["image_id"].tolist() and held_out.ids == ["r1", "r4", "r7"]
    x, y = 0.25 * np.float64([0.65, 0.85] * 3), 0.25 * np.float64([0.35, 0.15] * 3)
    true = np.eye(3)[[0, 2] * 3]
    expected = np.stack([x, y, 0 * x], 1) + 0.75 * true
    np.testing.assert_allclose(training.labels, expected, rtol=1e-6)
    np.testing.assert_array_equal(held_out.labels, np.eye(3)[[1, 1, 1]])  # held-out rows keep their labels
    assert whole.fingerprint() == table.fingerprint()
    records = [data.with_pseudo(table, tmp_path / "soft.csv", weight=w).pseudo_record(1) for w in (0.25, 0.5)]
    assert records[0]["rows"] == 6 and records[0]["sha256"] != records[1]["sha256"]


def test_a_temperature_divides_the_logits(tmp_path):
    table, runs = runs_of_three_folds(tmp_path)
    whole = data.with_pseudo(table, file_of(tmp_path, table, runs), temperature=2.0)
    labels = data.split(whole, 1)[0].labels[0]
    root = np.sqrt([0.65, 0.35])
    np.testing.assert_allclose(labels[:2], root / root.sum(), rtol=1e-5)
    assert labels[2] < 1e-6
    with pytest.raises(ValueError, match=r"temperature above 0; received 0 and 1\.0"):
        data.with_pseudo(table, tmp_path / "soft.csv", weight=0)


def test_hard_labels_have_no_temperature(tmp_path):
    rows = pd.DataFrame({"image_id": ["t"], "image": ["/t.png"], "fold": [0], "x": [1.0], "y": [0.0], "z": [0.0]})
    write_pseudo(tmp_path / "hard.csv", rows, CLASSES, labelled().fingerprint())
    with pytest.raises(ValueError, match="needs probabilities; make the file with `kcomp pseudo --soft`"):
        data.with_pseudo(labelled(), tmp_path / "hard.csv", test=unlabelled(["t"]), temperature=2)


def test_a_missing_label_becomes_the_prediction(tmp_path):
    own = pd.DataFrame({"image_id": ["a", "b"], "image": [b"1", b"2"], "fold": [0, 1], "p": [1, np.nan], "q": [0, 1.0]})
    table = data.Table(own, AnyOf(("p", "q")))
    rows = pd.DataFrame({"image_id": ["b"], "image": None, "fold": [0], KIND: "training", "p": [0.3], "q": [0.8]})
    write_pseudo(tmp_path / "soft.csv", rows, ["p", "q"], table.fingerprint())
    training, _ = data.split(data.with_pseudo(table, tmp_path / "soft.csv", weight=0.5), 0)
    np.testing.assert_allclose(training.labels, [[0.3, 0.9]], rtol=1e-6)


def test_all_images_of_an_item_get_its_label(tmp_path):
    own = labelled().frame.assign(item=["u", "v"] * 3)
    table = data.Table(own, labelled().target, item_column="item")
    rows = frame({"v": [0.2, 0.3, 0.5]}).rename_axis("image_id").reset_index()
    rows = rows.assign(image=None, fold=0, **{KIND: "training"})
    write_pseudo(tmp_path / "soft.csv", rows, CLASSES, table.fingerprint())
    training, _ = data.split(data.with_pseudo(table, tmp_path / "soft.csv"), 0)
    assert training.ids == IDS[1::2]
    np.testing.assert_allclose(training.labels, [[0.2, 0.3, 0.5]] * 3, rtol=1e-6)


def test_rows_that_the_table_lacks_are_named(tmp_path):
    table, runs = runs_of_three_folds(tmp_path)
    rows = label_training_rows(group_teachers(runs), [1]).assign(image=None, **{KIND: "training"})
    rows.loc[0, "image_id"] = "other"
    write_pseudo(tmp_path / "soft.csv", rows, CLASSES, table.fingerprint())
    with pytest.raises(ValueError, match=r"has 1 training rows that the table lacks, first \['other'\]"):
        data.with_pseudo(table, tmp_path / "soft.csv")


RECIPE = """
from dataclasses import dataclass
import keras
import numpy as np
from keras import layers
from kcomp import data, losses, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    soft: str = ""
    temperature: float = 2.0

def everything():
    return data.sklearn_digits().rows(np.arange(120))

def table(config):
    frame = everything().frame.iloc[:96].assign(fold=np.arange(96) % 3)
    rows = data.Table(frame, everything().target)
    if not config.soft:
        return rows
    return data.with_pseudo(rows, config.soft, test=test(config), weight=0.5, temperature=config.temperature)

def test(config): return data.Table(everything().frame.iloc[96:][["image_id", "image"]])

def batches(config, rows, training, seed):
    return data.Batches(rows, 8, batch_size=16, training=training, seed=seed)

def model(config, target):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    return models.classifier(keras.Model(inputs, x), target)

def stages(config):
    loss = losses.Distillation(config.temperature) if config.soft else None
    return [Stage("all", 1, "all", keras.optimizers.Adam(3e-2), loss)]

recipe = Recipe(Config(), table=table, test=test, batches=batches, model=model, stages=stages)
"""


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_runs_are_distilled_into_a_student(backend, tmp_path):
    (tmp_path / "small.py").write_text(RECIPE)

    def kcomp(*arguments, check=True):
        return conftest.kcomp(*arguments, backend=backend, cwd=tmp_path, check=check)

    kcomp("train", "small.py", "--fold", "all")
    kcomp("predict", "runs")
    refused = kcomp("pseudo", "runs", "--rows", "both", "-o", "soft.csv", check=False)
    assert refused.returncode == 2 and "--rows both writes probabilities; add --soft" in refused.stderr
    printed = kcomp("pseudo", "runs", "--rows", "both", "--soft", "--threshold", "0", "-o", "soft.csv").stdout
    assert "Its score is too good" in " ".join(printed.split())
    assert "264 rows with soft labels" in " ".join(printed.split())  # 3 folds of 24 test rows and 64 training rows
    printed = kcomp("train", "small.py", "--set", "soft=soft.csv", "-o", "student").stdout
    assert "trains on 88 rows, 24 of them pseudo-labelled and 64 with soft labels" in printed
    assert "warning: the models that predicted the soft labels were trained on fold 0" in printed
    record = json.loads((tmp_path / "student" / "manifest.json").read_text())["pseudo"]
    assert record["rows"] == 88
    labels = Run(tmp_path / "student").probabilities("labels").to_numpy()
    assert set(labels.ravel()) == {0, 1}
