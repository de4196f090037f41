"""Trainings that are stopped by ctrl-C, SIGTERM or --stop-after save their state; the same command ends equally."""

import signal
import time

import conftest
import pandas as pd
import pytest

from kcomp.system.stopping import PATIENCE, StoppedError, Stopper

RECIPE = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
import keras
import numpy as np
from keras import layers
from kcomp import data, models
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    keep: str = "best"

class Disturb(keras.callbacks.Callback):
    """Send this process the signal that the file `signal` names, once, and sleep."""
    def on_train_batch_end(self, batch, logs=None):
        path = Path("signal")
        if path.exists():
            number, epoch, at, seconds = path.read_text().split()
            if (self.epoch, batch) == (int(epoch), int(at)):
                path.unlink()
                os.kill(os.getpid(), int(number))
                time.sleep(float(seconds))
    def on_epoch_begin(self, epoch, logs=None): self.epoch = epoch

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(160)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=16, training=training, seed=seed)

def model(config, target):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(x))
    return models.classifier(keras.Model(inputs, x), target, dropout=0.3)

def stages(config):
    return [Stage("all", 3, "all", keras.optimizers.Adam(1e-2))]

def test(config):
    return data.sklearn_digits().rows(np.arange(1700, 1710))

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="KEEP",
                callbacks=lambda config: [Disturb()], test=test)
'''


def train(folder, backend, name, **options):
    return conftest.kcomp("train", "slow.py", "-o", name, backend=backend, cwd=folder, **options)


def same(folder):
    """Whether the two runs have equal predictions and logs, but for times."""
    logs = [pd.read_csv(folder / run / "log.csv").drop(columns=["seconds", "images_per_second"]) for run in ("a", "b")]
    return (folder / "a/oof.csv").read_bytes() == (folder / "b/oof.csv").read_bytes() and logs[0].equals(logs[1])


@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_a_signal_saves_the_batch_and_nothing_is_lost(tmp_path, backend):
    (tmp_path / "slow.py").write_text(RECIPE.replace("KEEP", "best"))
    train(tmp_path, backend, "a")
    for number, epoch, batch, name in ((2, 0, 2, "interrupted"), (15, 1, 6, "terminated")):
        (tmp_path / "signal").write_text(f"{number} {epoch} {batch} 0")
        done = train(tmp_path, backend, "b", check=False)
        place = f"epoch {epoch + 1} of 3, after batch {batch + 1} of 7" if batch < 6 else "epoch 2 of 3, at its end"
        line = f"kcomp: {name} in {place}, which is saved; run the same command again to continue"
        assert (done.returncode, done.stderr.splitlines()[-1]) == (128 + number, line)
    (tmp_path / "signal").write_text("15 2 3 60")  # no batch ends in time
    started = time.monotonic()
    done = train(tmp_path, backend, "b", check=False)
    assert done.returncode == 143 and time.monotonic() - started < 50
    assert done.stderr.splitlines()[-1] == "kcomp: terminated; run the same command again to continue"
    train(tmp_path, backend, "b")
    assert same(tmp_path)


CODE = """
from pathlib import Path
from rich.console import Console
from kcomp import recipe
from kcomp.runs.folder import Run
from kcomp.system.stopping import StoppedError, Stopper
from kcomp.training.fit import train
from kcomp.training.session import SaveOptions

class AtCall(Stopper):
    def is_due(self):
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls == int(sys.argv[2]) and self.reserve() > 20

loaded, saved = recipe.load("slow.py"), []
for stopper in [AtCall(1e6), Stopper()] if sys.argv[1] == "b" else [Stopper()]:
    run = Run(Path(sys.argv[1]))
    try:
        train(loaded, run, seed=0, fold=0, console=Console(), options=SaveOptions(stopper=stopper))
    except StoppedError as stop:
        saved = [stop.saved, stop.signal, sorted(path.name for path in (run / "stopped").glob("*"))]
        tables = [(run / "stopped" / name).read_text().splitlines() for name in saved[2]]
        saved += [[len(table) for table in tables], tables[0][0]] if tables else []
give(saved=saved, left=[path.name for path in run.folder.iterdir()])
"""


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("backend", conftest.one_slow(slow="jax"))
def test_after_the_time_the_run_predicts_and_continues(tmp_path, backend, keep, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(RECIPE.replace("KEEP", keep))
    conftest.in_backend(backend, CODE, "a", "0")
    found = conftest.in_backend(backend, CODE, "b", "11")
    place, number, names, lines, header = found["saved"]
    assert (place, number) == ("epoch 2 of 3, after batch 3 of 7", None)
    assert names == ["oof.csv", "test.csv"] and lines == [41, 11] and header.startswith("image_id,")
    assert "stopped" not in found["left"] and same(tmp_path)


def test_the_time_is_over_when_only_the_reserve_is_left(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stopper, endless = Stopper(60.0), Stopper()
    stopper.reserve = lambda: 20.0
    now = 139.9
    assert not stopper.is_due() and stopper.remaining() == pytest.approx(20.1)
    now = 140.0
    assert stopper.is_due() and not endless.is_due()


def test_a_second_signal_ends_at_once_and_handlers_come_back():
    before, stopper = signal.getsignal(signal.SIGTERM), Stopper()
    with pytest.raises(StoppedError) as stop, stopper.listening():
        signal.raise_signal(signal.SIGTERM)
        assert stopper.is_due()
        signal.raise_signal(signal.SIGTERM)
    assert stop.value.signal == signal.SIGTERM and stop.value.saved == ""
    assert signal.getsignal(signal.SIGTERM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert PATIENCE < 5


def test_a_time_limit_is_a_duration(tmp_path):
    (tmp_path / "slow.py").write_text(RECIPE)
    done = conftest.kcomp("train", "slow.py", "--stop-after", "8:30", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "such as 90s, 10min or 8h30m; received '8:30'" in done.stderr
