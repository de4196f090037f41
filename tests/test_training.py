"""Training on both backends: the same experiment, a run folder that is whole, and errors before hours are lost."""

import json

import conftest
import numpy as np
import pandas as pd
import pytest

TINY = '''
"""A tiny network on a few digits, with everything a recipe can use."""
from dataclasses import dataclass
import os, time
import albumentations as A
import keras
import numpy as np
from keras import layers
from kcomp import augment, data, models, schedules, views
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rows: int = 200
    rate: float = 2e-2
    epochs: int = 3
    trainable: str = ".*"
    accumulate: int | None = None

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(config.rows)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=16, training=training, seed=seed,
        transform=A.Compose([A.Affine(rotate=(-10, 10), p=1.0)]) if training else None,
        layers=[augment.Switch(augment.MixUp(0.2), augment.CutMix(1.0)), augment.RandomErasing(0.2)])

def model(config, target):
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 255)(x)
    for number, width in enumerate((8, 16)):
        x = layers.Conv2D(width, 3, 2, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"block{number}_bn")(x))
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.3)

class Pause(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None): time.sleep(float(os.environ.get("PAUSE", 0)))

def stages(config):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    rate = schedules.WarmupCosine(config.rate, config.epochs, warmup=0.2)
    fine = keras.optimizers.AdamW(rate, weight_decay=0.1, global_clipnorm=1.0, gradient_accumulation_steps=config.accumulate)
    return [Stage("head", 1, "head", keras.optimizers.Adam(config.rate), loss),
            Stage("all", config.epochs, config.trainable, fine, loss, train_batch_norm=True, class_weights="balanced")]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages,
                callbacks=lambda config: [Pause()], views=lambda config: [views.left_right, *views.random(2)],
                test=lambda config: data.sklearn_digits().rows(np.arange(1700, 1797)))
'''


def write(folder, source=TINY):
    (folder / "tiny.py").write_text(source)
    return folder / "tiny.py"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder in which both backends trained two folds of the tiny recipe."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder)
    for backend in ("jax", "torch"):
        conftest.kcomp("train", "tiny.py", "--fold", "0,2", "--seed", "5", backend=backend, cwd=folder)
    return folder


def run_of(folder, backend, fold=0, seed=5):
    [found] = folder.glob(f"runs/tiny/*/{backend}-seed{seed}-fold{fold}")
    return found


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_folder_is_whole(trained, backend):
    run = run_of(trained, backend)
    names = {path.name for path in run.iterdir()}
    assert names == {
        "recipe", "config.json", "manifest.json", "log.csv", "state", "best.weights.h5", "oof.csv", "labels.csv",
        "result.json", "lock",
    }  # fmt: skip
    manifest, result = json.loads((run / "manifest.json").read_text()), json.loads((run / "result.json").read_text())
    assert manifest["backend"] == backend and manifest["seed"] == 5 and manifest["fold"] == 0
    assert manifest["versions"].keys() >= {"keras", backend, "kcomp", "python"}
    log = pd.read_csv(run / "log.csv")
    assert log.epoch.tolist() == [1, 2, 3, 4] and log.stage.tolist() == ["head", "all", "all", "all"]
    assert result["epoch"] == log.epoch[log.log_loss.argmin()]
    oof = pd.read_csv(run / "oof.csv")
    assert len(oof) == result["rows"] == 50 and np.allclose(oof.drop(columns="image_id").sum(axis=1), 1, atol=1e-5)
    assert result["scores"]["log_loss"] == pytest.approx(log.log_loss.min(), abs=1e-5)


def test_both_backends_share_one_fingerprint_and_learn_alike(trained):
    assert len(list(trained.glob("runs/tiny/*"))) == 1
    losses = [pd.read_csv(run_of(trained, backend) / "log.csv").loss for backend in ("jax", "torch")]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.15)  # the same batches, but each framework's dropout
    assert losses[0].iloc[-1] < losses[0].iloc[0] and losses[1].iloc[-1] < losses[1].iloc[0]


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_run_does_not_hang_on_what_its_process_trained_before(trained, backend, tmp_path):
    conftest.kcomp(
        "train", write(tmp_path), "--seed", "5", "--fold", "2", "-o", tmp_path / "run", backend=backend, cwd=tmp_path
    )
    alone, second = tmp_path / "run", run_of(trained, backend, fold=2)
    assert (alone / "oof.csv").read_bytes() == (second / "oof.csv").read_bytes()


SAME = """
import hashlib, sys
import numpy as np, keras
from rich.console import Console
from pathlib import Path
from kcomp import recipe as recipes
from kcomp.data import split
from kcomp.runs.folder import Run
from kcomp.training import fit
loaded = recipes.load(sys.argv[1])
table = loaded.recipe.table(loaded.recipe.config)
session = fit.prepare(loaded, Run(Path("none")), table, seed=5, fold=1, console=Console())
def digest(arrays):
    sha = hashlib.sha256()
    for array in arrays: sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
batches = list(session.training.epochs(0, 2))
mixed = []
for batch in batches[:3]:
    found = {"images": batch["images"], "labels": batch["labels"]}
    for layer, plan in zip(session.training.layers, batch["plans"], strict=True):
        found = layer(found, plan=plan)
    mixed += [keras.ops.convert_to_numpy(found[name]) for name in ("images", "labels")]
give(weights=digest(keras.ops.convert_to_numpy(w.value) for w in session.network.weights), folds=table.fingerprint(),
     batches=digest(array for b in batches for array in keras.tree.flatten(b)), mixed=digest(mixed), count=len(batches))
"""


def test_one_seed_gives_the_same_experiment_on_both_backends(tmp_path):
    jax, torch = (conftest.in_backend(backend, SAME, write(tmp_path)) for backend in ("jax", "torch"))
    assert jax == torch and jax["count"] == 18


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_finished_run_is_left_alone(trained, backend):
    run = run_of(trained, backend)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "lock"}
    done = conftest.kcomp("train", "tiny.py", "--seed", "5", backend=backend, cwd=trained)
    assert "is complete" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "lock"}


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_killed_run_continues_as_if_nothing_had_happened(trained, backend, tmp_path):
    write(tmp_path)
    train = ("train", "tiny.py", "--seed", "5", "-o", "run")
    for epochs in (1, 3):  # once between stages, once inside one
        conftest.killed_after(epochs, tmp_path / "run", train, backend=backend, cwd=tmp_path)
    conftest.kcomp(*train, backend=backend, cwd=tmp_path)
    ours, theirs = (pd.read_csv(run / "log.csv") for run in (tmp_path / "run", run_of(trained, backend)))
    exact = ["epoch", "stage", "rate", "loss", "train_accuracy", "log_loss", "accuracy"]
    pd.testing.assert_frame_equal(ours[exact], theirs[exact])
    assert (tmp_path / "run" / "oof.csv").read_bytes() == (run_of(trained, backend) / "oof.csv").read_bytes()


@pytest.mark.parametrize("backend", conftest.backends()[:1])  # none of it is the backend's doing
def test_wrong_recipes_fail_before_training(backend, tmp_path):
    """One line that helps, exit code 1 or 2, and no run folder with anything in it."""
    command_lines = [
        (["--set", "trainable=blok0_conv"], "matches no layer; did you mean 'block0_conv'", 1),
        (["--fold", "9"], "folds of this table are [0, 1, 2, 3]; received 9", 1),
        (["--set", "rat=1"], "no value 'rat'; did you mean 'rate'", 2),
        (["--fold", "x"], "--fold takes whole numbers", 2),
        (["--fold", "0,1"], "2 runs are requested", 2),
    ]
    sources = [
        ("from_logits=True, ", "", "must take labels and logits"),
        ("keras.optimizers.Adam(config.rate)", "'adam'", "the optimizer must be one of Keras's"),
        (
            "if training else None,",
            "if training else 'flip',",
            "transform must be an albumentations.Compose, a transform of torchvision.transforms.v2, or None; received 'flip'",
        ),
        (
            "return models.classifier(",
            "return keras.Model(inputs, x) or models.classifier(",
            "must give logits of shape (batch, 10)",
        ),
        (
            "return models.classifier(",
            "return keras.Model(inputs, {'a': layers.Dense(10)(layers.Flatten()(x))}) or models.classifier(",
            "it gives {'a': (None, 10)}",
        ),
        (
            "return models.classifier(",
            "return type('Own', (keras.Model,), {})() or models.classifier(",
            "must return a model with one keras.Input: keras.Model(inputs, outputs), in which a subclassed model may be a layer, or a Sequential that begins with it; "
            "received a Own with no inputs",
        ),
        (
            "return models.classifier(",
            "return keras.Model([inputs, keras.Input((3,))], x) or models.classifier(",
            "received a Functional with 2 inputs",
        ),
        ("[views.left_right, *views", "['flip', *views", "a recipe's views must be of kcomp.views; received 'flip'"),
        ("def table(config):", "def table(config):\n    return data.read_csv('none.csv')", "no table at none.csv"),
        ("def table(config):", "def table(config):\n    return config.rowz", "'rowz' ("),
        ("return data.Batches(", "data.Batches(", "batches() must return a Batches; it returned NoneType"),
        ("(-10, 10), p=1.0)", "(-10, 10), p=1.0), A.Resize(8, 8)", "row 'digit-"),
    ]
    for number, (before, after, _) in enumerate(sources):
        (tmp_path / f"wrong{number}.py").write_text(TINY.replace(before, after))
    write(tmp_path)
    wrong = [(f"wrong{number}.py", [], message, 1) for number, (*_, message) in enumerate(sources)]
    cases = [("tiny.py", *case) for case in command_lines] + wrong
    calls = [["train", tmp_path / name, *given, "-o", tmp_path / "run"] for name, given, *_ in cases]
    for (code, _, error), (*_, message, expected) in zip(conftest.commands(backend, calls), cases, strict=True):
        assert code == expected and message in error and error.count("\n") == 1, error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("backend", conftest.backends())
def test_nan_stops_with_advice_and_keeps_what_was_good(backend, tmp_path):
    write(
        tmp_path,
        TINY.replace("global_clipnorm=1.0, ", "").replace(
            "schedules.WarmupCosine(config.rate,", "schedules.WarmupCosine(1e30,"
        ),
    )
    done = conftest.kcomp("train", "tiny.py", "-o", "run", backend=backend, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "the loss became" in done.stderr and "lower the rate" in done.stderr
    assert len(pd.read_csv(tmp_path / "run" / "log.csv")) == 1 and not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("backend", conftest.backends())
def test_predict_ensemble_submit_runs(trained, backend, tmp_path):
    run = run_of(trained, backend)
    done = conftest.kcomp("predict", run, backend=backend, cwd=tmp_path)
    assert "97 rows, 3 views" in done.stdout and "accuracy" in done.stdout
    assert len(pd.read_csv(run / "test.csv")) == 97


def test_across_backends_from_images_to_a_submission(trained, tmp_path):
    conftest.kcomp("predict", trained / "runs", "--views", "none", cwd=tmp_path)  # each run on its own backend
    done = conftest.kcomp("ensemble", trained / "runs", "-o", tmp_path / "mean.csv", cwd=tmp_path)
    assert "Scores on 100 held-out rows" in done.stdout and "best member" in done.stdout
    mean = pd.read_csv(tmp_path / "mean.csv")
    parts = [
        pd.read_csv(run_of(trained, backend, fold) / "test.csv") for backend in ("jax", "torch") for fold in (0, 2)
    ]
    np.testing.assert_allclose(
        mean.drop(columns="image_id"), sum(part.drop(columns="image_id") for part in parts) / 4, atol=1e-9
    )
    mean.iloc[::-1].rename(columns={"image_id": "id"}).to_csv(tmp_path / "sample.csv", index=False)
    conftest.kcomp(
        "submit", tmp_path / "mean.csv", "--sample", tmp_path / "sample.csv", "-o", tmp_path / "s.csv", cwd=tmp_path
    )
    assert list(pd.read_csv(tmp_path / "s.csv").id) == list(mean.image_id)[::-1]
    listed = conftest.kcomp("runs", trained / "runs", cwd=tmp_path).stdout
    assert listed.count("tiny") >= 4 and "torch" in listed


@pytest.mark.parametrize("backend", conftest.backends())
def test_one_weights_file_predicts_the_same_on_both_backends(trained, backend, tmp_path):
    other = "torch" if backend == "jax" else "jax"
    run = run_of(trained, backend, fold=2)
    found = []
    for chosen in (backend, other):
        conftest.kcomp("predict", run, "--backend", chosen, "-o", tmp_path / chosen, cwd=tmp_path)
        [path] = (tmp_path / chosen).glob(f"tiny-*-{run.name}.csv")
        found.append(pd.read_csv(path).drop(columns="image_id"))
    np.testing.assert_allclose(*found, atol=1e-5)
