"""`kcomp tune`: ranges and pruning by hand, killed workers, and searches on both backends."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import conftest
import pytest

from kcomp import recipe as recipes
from kcomp import space
from kcomp.metrics import log_loss
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run
from kcomp.targets import OneOf
from kcomp.values import as_text, parse_values

optuna = pytest.importorskip("optuna")
from optuna.trial import TrialState  # noqa: E402

from kcomp.tune import page, pictures, storage, training, worker  # noqa: E402
from kcomp.tune.search import Search, is_worse_than_median  # noqa: E402
from kcomp.tune.training import error_in  # noqa: E402


@dataclass(frozen=True)
class Config:
    rate: Annotated[float, space.LogUniform(1e-4, 1e-2)] = 1e-3
    size: Annotated[int, space.Choice(160, 224)] = 160
    layers: Annotated[tuple[int, ...], space.Choice((1, 2), (3,))] = (3,)
    blocks: Annotated[int | None, "of the network", space.Choice(4, None)] = None
    share: Annotated[float, space.Uniform(0.0, 0.5)] = 0.5
    depth: Annotated[int, space.Integer(2, 8, step=2)] = 4
    epochs: int = 3


def declared(hint, value):
    return dataclass(frozen=True)(type("Odd", (), {"__annotations__": {"odd": hint}, "odd": value}))()


# ---------------------------------------------------------------- ranges


def test_ranges_stand_beside_the_values():
    found = space.ranges(Config())
    assert list(found) == ["rate", "size", "layers", "blocks", "share", "depth"]
    assert found["size"] == space.Choice(160, 224) and found["blocks"] == space.Choice(4, None)
    assert list(space.ranges(Config(), {"rate": 1e-4, "epochs": 2})) == ["size", "layers", "blocks", "share", "depth"]
    with pytest.raises(ValueError, match="no value 'rat'; did you mean 'rate'"):
        space.ranges(Config(), {"rat": 1})


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (Annotated[int, space.Uniform(0, 1)], 0, "declared as int, and .* gives floats; take space.Integer"),
        (Annotated[int, space.Choice(1, "a")], 1, "must be int; received 'a'"),
        (Annotated[float, space.Uniform], 0.5, "needs its bounds"),
        (Annotated[float, space.Uniform(0, 1)] | None, 0.5, "must be declared as odd: Annotated"),
        (Annotated[float, space.Uniform(0, 1), space.Uniform(1, 2)], 0.5, "with one range"),
        (Annotated[float, space.Uniform(0, 1)], 1.5, "outside its own range"),
        (Annotated[int, space.Integer(2, 8, step=2)], 3, "outside its own range"),
    ],
)
def test_a_range_must_fit_its_value(hint, value, message):
    with pytest.raises(ValueError, match=message):
        space.ranges(declared(hint, value))


@pytest.mark.parametrize(
    "make",
    [
        lambda: space.Uniform(1, 0),
        lambda: space.Uniform(0, float("inf")),
        lambda: space.LogUniform(0, 1),
        lambda: space.Integer(1, 4, step=2),
        lambda: space.Integer(1, 2.5),
        lambda: space.Choice(1),
        lambda: space.Choice(1, 1),
    ],
)
def test_a_range_must_be_one(make):
    with pytest.raises(ValueError, match=r"must|needs|takes"):
        make()


@pytest.mark.parametrize(
    "changes",
    [
        {"rate": 0.1 + 0.2, "size": 224, "layers": (1, 2), "blocks": None},
        {"rate": 1e-23, "size": 160, "layers": (3,), "blocks": 4},
    ],
)
def test_values_reach_the_command_line_with_every_digit(changes):
    texts = [f"{name}={as_text(value)}" for name, value in changes.items()]
    assert parse_values(Config(), texts) == changes
    assert as_text(True) == "true" and as_text("cosine") == "cosine"


def test_places_in_a_range_by_hand():
    assert pictures.place(space.LogUniform(1e-4, 1e-2), 1e-3) == pytest.approx(0.5)
    assert pictures.place(space.Uniform(1.0, 3.0), 1.5) == 0.25
    assert pictures.place(space.Choice("a", "b", "c"), "c") == 1.0
    assert pictures.ticks(space.Integer(1, 3)) == [(0.0, "1"), (0.5, "2"), (1.0, "3")]


def test_is_worse_than_median_by_hand():
    assert is_worse_than_median(0.31, [0.1, 0.2, 0.3, 0.4, 0.5], lower=True)
    assert not is_worse_than_median(0.30, [0.1, 0.2, 0.3, 0.4, 0.5], lower=True)
    assert is_worse_than_median(0.29, [0.1, 0.2, 0.3, 0.4, 0.5], lower=False)
    assert not is_worse_than_median(9.0, [0.1, 0.2, 0.3, 0.4], lower=True)  # too few to judge by


# ---------------------------------------------------------------- a search whose trainings are made up

RECIPE = """
from dataclasses import dataclass
from typing import Annotated
from kcomp import space
from kcomp.recipe import Recipe

ROWS = {"fingerprint": "t", 0: None, 1: None}

class Table:
    def fingerprint(self):
        return ROWS["fingerprint"]

    def pseudo_record(self, fold):
        return ROWS[fold]

@dataclass(frozen=True)
class Config:
    x: Annotated[float, space.Uniform(0.0, 1.0)] = 0.5
    pair: Annotated[tuple[int, ...], space.Choice((1, 2), (3,))] = (3,)
    kind: str = "sound"

recipe = Recipe(Config(), table=lambda values: Table(), batches=print, model=print, stages=print)
"""
TRAINING = """
import json, pathlib, sys, time
folder, kind, scores = pathlib.Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
manifest = dict(zip(("fingerprint", "backend", "seed", "fold", "table"), json.loads(sys.argv[4])))
if kind != "sound":
    sys.exit("kcomp: " + kind)
folder.mkdir(parents=True, exist_ok=True)
(folder / "manifest.json").write_text(json.dumps({"recipe": "made_up", "target": {}, "classes": [], "metric": "log_loss", "scores": [], **manifest}))
log = folder / "log.csv"
done = log.read_text().splitlines() if log.exists() else ["epoch,log_loss,accuracy"]
for epoch in range(len(done), len(scores) + 1):
    time.sleep(0.15)
    done.append(f"{epoch},{scores[epoch - 1]},0.5")
    (folder / "new").write_text("\\n".join(done) + "\\n")
    (folder / "new").replace(log)
(folder / "result.json").write_text(json.dumps({"scores": {"log_loss": min(scores), "accuracy": 0.5}, "seconds": 1}))
"""


def made_up(folder, monkeypatch, *, folds=(0,), kind="sound", epochs=3):
    """A search, and the list of processes it starts; a training's score in epoch e is x + fold + 1 / e."""
    monkeypatch.chdir(folder)
    Path("made_up.py").write_text(RECIPE)
    loaded = recipes.load("made_up.py").with_values(kind=kind)
    search = Search(
        Path("made_up.py"), loaded, {"kind": kind}, "jax", folds, 0, "log_loss", Scorer(log_loss, OneOf(("a", "b")))
    )
    started = []

    def start(arguments, environ, output):
        assert environ["KERAS_BACKEND"] == "jax"
        told = dict(itertools.pairwise(arguments))
        sets = [text for name, text in itertools.pairwise(arguments) if name == "--set"]
        values, fold = parse_values(loaded.recipe.config, sets), int(told["--fold"])
        scores = [values["x"] + fold + 1 / epoch for epoch in range(1, epochs + 1)]
        output.parent.mkdir(parents=True, exist_ok=True)
        run = search.run(values, fold)
        kept = json.dumps([run.folder.parent.name, "jax", 0, fold, "t"])
        command = [sys.executable, "-S", "-c", TRAINING, str(run.folder), kind, json.dumps(scores), kept]
        with output.open("wb") as file:
            started.append(subprocess.Popen(command, stderr=file))
        return started[-1]

    monkeypatch.setattr(training, "start_kcomp", start)
    return search, started


def earlier(search, study, steps, count=5):
    """Put complete trials into a study that had these values at these steps."""
    for number in range(count):
        found = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
        found["pair"] = optuna.distributions.CategoricalDistribution(["1,2", "3"])
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": 0.1 * number, "pair": "3"},
                distributions=found,
                value=0.1,
                intermediate_values=steps,
                user_attrs={"runs": [f"run{number}"], "host": "here"},
            )
        )


PLACES = ["study.db", "study.journal"]


@pytest.mark.parametrize("place", PLACES)
def test_a_search_has_as_many_trials_as_asked_for(place, tmp_path, monkeypatch):
    search, started = made_up(tmp_path, monkeypatch)
    for total in (2, 2, 3):
        study = storage.open_study(search, place)
        worker.Worker(search, study, total, True, print).work()
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * total and len(started) == total
    first = study.trials[0]
    assert first.params == {"x": 0.5, "pair": "3"} and first.value == pytest.approx(0.5 + 1 / 3)
    assert first.intermediate_values == pytest.approx({1: 1.5, 2: 1.0, 3: 0.5 + 1 / 3})
    best = page.best_runs(search, study, 2)
    values = sorted(trial.value for trial in study.trials)
    kept = [json.loads((folder / "result.json").read_text())["scores"]["log_loss"] for folder in best]
    assert kept == values[:2]
    with pytest.raises(ValueError, match="asks for more trials than are complete: 3"):
        page.best_runs(search, study, 4)


def rows_of(search):
    """What the recipe's table will say of itself."""
    return search.loaded.recipe.table.__globals__["ROWS"]


def test_scores_of_other_data_belong_to_another_search(tmp_path, monkeypatch):
    search, _ = made_up(tmp_path, monkeypatch, folds=(0, 1))
    keys = {search.key}
    for name, value in (("fingerprint", "u"), (1, {"rows": 3, "sha256": "p"}), (1, {"rows": 3, "sha256": "q"})):
        changed, _ = made_up(tmp_path, monkeypatch, folds=(0, 1))
        rows_of(changed)[name] = value
        keys.add(changed.key)
        rows_of(changed).update({"fingerprint": "t", 1: None})
    assert len(keys) == 4
    assert made_up(tmp_path, monkeypatch, folds=(0, 1))[0].key == search.key


def test_a_score_that_is_no_number_fails_its_trial_for_good(tmp_path, monkeypatch):
    """JSON keeps NaN as null. The trial is not left open, which the next worker would go on with."""
    search, started = made_up(tmp_path, monkeypatch)
    worker.Worker(search, storage.open_study(search, "study.db"), 1, True, print).work()
    [result] = Path("runs").rglob("result.json")
    result.write_text(json.dumps({"scores": {"log_loss": None}, "seconds": 1}))
    study = storage.open_study(search, "other.db")
    storage.lock_path(search, 0).unlink()
    worker.Worker(search, study, 1, True, print).work()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] and len(started) == 1
    assert study.trials[0].user_attrs["error"] == "log_loss of fold 0 is nan"


@pytest.mark.parametrize("name", ["fingerprint", 0])
def test_a_run_of_other_data_is_not_taken(name, tmp_path, monkeypatch):
    search, _ = made_up(tmp_path, monkeypatch)
    worker.Worker(search, storage.open_study(search, "study.db"), 1, True, print).work()
    changed, again = made_up(tmp_path, monkeypatch)
    before, rows_of(changed)[name] = rows_of(changed)[name], "other"
    study = storage.open_study(changed, "study.db")
    with pytest.raises(ValueError, match=r"holds a run with .*; this one has 'other'"):
        worker.Worker(changed, study, 1, True, print).work()
    assert not again and [trial.state for trial in study.trials] == [TrialState.RUNNING]
    rows_of(changed)[name] = before  # the trial goes on, under its number, once the folder can be taken
    worker.Worker(changed, study, 1, True, print).work()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


@pytest.mark.parametrize("place", PLACES)
def test_what_a_worker_left_behind_is_continued_under_its_number(place, tmp_path, monkeypatch):
    search, _ = made_up(tmp_path, monkeypatch)
    study = storage.open_study(search, place)
    one, other = storage.claim(search, study, 3), storage.claim(search, study, 3)
    other.trial.report(0.7, 1)
    assert (one.trial.number, other.trial.number) == (0, 1)
    other.lock.close()  # as the system does when a process ends
    again = storage.claim(search, study, 3)
    assert again.trial.number == 1 and again.values == other.values and again.reported == {1}
    last = storage.claim(search, study, 3)
    assert last.trial.number == 2 and last.values != other.values
    assert storage.claim(search, study, 3) is None and len(study.trials) == 3  # all are under way


def test_a_trial_of_another_folder_is_left_alone(tmp_path, monkeypatch):
    search, _ = made_up(tmp_path, monkeypatch)
    study = storage.open_study(search, "study.db")
    found = storage.claim(search, study, 2)
    found.lock.close()
    storage.lock_path(search, 0).unlink()  # a machine that shares the storage alone has its locks elsewhere
    mine = storage.claim(search, study, 2)
    assert mine.trial.number == 1 and storage.claim(search, study, 2) is None


def test_a_killed_search_tries_what_it_would_have_tried(tmp_path, monkeypatch):
    search, _ = made_up(tmp_path, monkeypatch)
    tried = []
    for place, kills in (("whole.db", ()), ("killed.db", (1, 12))):
        study = storage.open_study(search, place)
        for path in (search.folder / "trials").glob("*"):
            path.unlink()
        while (found := storage.claim(search, study, 14)) is not None:
            found.lock.close()
            if found.trial.number in kills:
                kills = kills[1:]
                continue
            study.tell(found.trial, found.values["x"])
        tried.append([trial.params for trial in study.trials])
    assert tried[0] == tried[1] and len({params["x"] for params in tried[0]}) == 14


def test_pruning_ends_the_training_which_can_be_continued(tmp_path, monkeypatch):
    search, started = made_up(tmp_path, monkeypatch, epochs=40)
    study = storage.open_study(search, "study.db")
    earlier(search, study, {2: 0.9})
    said = []
    worker.Worker(search, study, 6, True, said.append).work()
    trial = study.trials[0]
    assert trial.state == TrialState.PRUNED and trial.user_attrs["pruned"] == "in epoch 2 of fold 0"
    assert any("pruned in epoch 2 of fold 0: log_loss 1.0000, the median is 0.9000" in line for line in said)
    run = search.run({"x": 0.5, "pair": (3,)}, 0)
    assert started[0].poll() == -signal.SIGTERM and (run / "log.csv").exists() and not run.complete
    fresh = storage.open_study(search, "other.db")
    storage.lock_path(search, 0).unlink()
    worker.Worker(search, fresh, 1, False, said.append).work()
    assert run.complete and len((run / "log.csv").read_text().splitlines()) == 41
    worker.Worker(search, storage.open_study(search, "third.db"), 1, False, said.append).work()
    assert len(started) == 2  # a complete run is not trained again


def test_pruning_after_a_fold(tmp_path, monkeypatch):
    search, started = made_up(tmp_path, monkeypatch, folds=(0, 1))
    study = storage.open_study(search, "study.db")
    earlier(search, study, {worker.FOLD - 1: 0.8})
    worker.Worker(search, study, 6, True, print).work()
    assert study.trials[0].user_attrs["pruned"] == "after fold 0" and len(started) == 1
    worker.Worker(search, study, 7, False, print).work()
    x = study.trials[6].params["x"]
    assert study.trials[6].value == pytest.approx((x + 1 / 3 + x + 1 + 1 / 3) / 2) and len(started) == 3
    assert study.trials[6].intermediate_values[worker.FOLD + 1] == pytest.approx((x + 1 / 3 + x + 1 + 1) / 2)


def test_failures(tmp_path, monkeypatch):
    search, _ = made_up(tmp_path, monkeypatch, kind="no such image")
    study = storage.open_study(search, "study.db")
    with pytest.raises(RuntimeError, match="3 trials in a row failed, the last: no such image"):
        worker.Worker(search, study, 9, True, print).work()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3
    search, _ = made_up(tmp_path, monkeypatch, kind="the loss became nan in epoch 1")
    study = storage.open_study(search, "other.db")
    worker.Worker(search, study, 4, True, print).work()
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED] * 4
    assert page.write_page(search, study, "kcomp tune").exists()  # without a complete trial


def test_storage_and_space_are_checked(tmp_path, monkeypatch):
    search, _ = made_up(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=r"ends in .db .SQLite. or .journal"):
        storage.open_study(search, "study.sql")
    bare = search.loaded.with_values(kind="other")
    with pytest.raises(ValueError, match="declares no range to search"):
        _ = Search(
            search.recipe,
            bare,
            {"x": 0.5, "pair": (3,)},
            "jax",
            (0,),
            0,
            "log_loss",
            Scorer(log_loss, OneOf(("a", "b"))),
        ).ranges
    (tmp_path / "said.txt").write_text("epoch 1\nkcomp: what was wrong\nlater\n")
    assert error_in(tmp_path / "said.txt") == "what was wrong"


def test_the_page(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    search, _ = made_up(tmp_path, monkeypatch)
    study = storage.open_study(search, "study.db")
    earlier(search, study, {1: 0.9, 2: 0.8})
    worker.Worker(search, study, 6, True, print).work()
    text = page.write_page(search, study, "kcomp tune made_up.py").read_text()
    assert text.count("<img") == text.count("data:image/png;base64,") == 4
    assert "http" not in text and "pruned in epoch 1 of fold 0" in text and "<td>run0</td>" in text


# ---------------------------------------------------------------- real trainings

TINY = """
from dataclasses import dataclass
from typing import Annotated
import keras, numpy as np
from keras import layers
from kcomp import data, space
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rate: Annotated[float, space.LogUniform(1e-4, 1e-1)] = 1e-3
    units: Annotated[int, space.Choice(4, 8)] = 4
    epochs: int = 2

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(120)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 8, batch_size=16, training=training, seed=seed)

def model(config, target):
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Dense(config.units, activation="relu", name="dense")(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(target.outputs, name="head")(x))

def stages(config):
    return [Stage("all", config.epochs, "all", keras.optimizers.Adam(config.rate))]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages)
"""


def test_a_worker_killed_in_the_middle(tmp_path):
    """Its training ends with it, and the same command goes on with both."""
    pytest.importorskip("jax")
    (tmp_path / "tiny.py").write_text(TINY)
    command = ["tune", "tiny.py", "--trials", "2", "--set", "epochs=100", "--pruner", "none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kcomp.cli", *command], env=conftest.environment("jax"), cwd=tmp_path
    )
    deadline = time.time() + 200
    while not (states := list(tmp_path.glob("runs/*/*/*/state/epoch.npz"))):  # what makes an epoch count
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run = Run(states[0].parent.parent)
    before = (run / "log.csv").read_text().splitlines()
    while run.busy:
        assert time.time() < deadline
        time.sleep(0.05)
    assert not run.complete and len(before) < 100
    done = conftest.kcomp(*command, backend="jax", cwd=tmp_path)
    after = (run / "log.csv").read_text().splitlines()
    assert after[:2] == before[:2] and run.complete  # the first epoch's speed and all: continued
    assert len(after) == 101
    assert len(list(tmp_path.glob("runs/*/*/*/result.json"))) == 2
    assert re.findall(r"^trial (\d+): log_loss", done.stdout, re.M) == ["0", "1"]
    again = conftest.kcomp(*command, backend="jax", cwd=tmp_path)
    assert "trial 0: rate" not in again.stdout  # nothing is left to train


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_a_search_on_each_backend(backend, tmp_path):
    """Two workers on JAX; one on PyTorch, whose processes take seconds to start."""
    pytest.importorskip("matplotlib")
    (tmp_path / "tiny.py").write_text(TINY)
    workers = {"jax": 2, "torch": 1}[backend]
    command = ["tune", "tiny.py", "--backend", backend, "--trials", "2", "--storage", "all.journal"]
    done = conftest.kcomp(*command, "--workers", workers, cwd=tmp_path)
    assert sorted(re.findall(r"^trial (\d+): log_loss", done.stdout, re.M)) == ["0", "1"]
    [page] = tmp_path.glob("tune/tiny/*/report.html")
    assert "http" not in page.read_text() and done.stdout.splitlines()[-1] == str(page.relative_to(tmp_path))
    if backend == "torch":
        return
    listed = conftest.kcomp(*command, "--best", "2", cwd=tmp_path).stdout.split()
    other = conftest.kcomp(*command, "--best", "2", "--metric", "accuracy", cwd=tmp_path, check=False)
    assert other.returncode == 2 and "those of this recipe had --backend" in other.stderr
    assert len(list(tmp_path.glob("tune/tiny/*"))) == 1
    assert len(listed) == 2 and all((tmp_path / folder / "oof.csv").is_file() for folder in listed)
    joined = conftest.kcomp("ensemble", *listed, cwd=tmp_path)
    assert "mean of 2" in joined.stdout
    wrong = conftest.kcomp("tune", "tiny.py", "--backend", backend, "--set", "rat=1", cwd=tmp_path, check=False)
    assert wrong.returncode == 2 and "did you mean 'rate'" in wrong.stderr
