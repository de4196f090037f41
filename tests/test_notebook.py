"""kcomp in Python: each training in a child process, both backends from one process, one readable exception."""

import json
import signal
import subprocess
import sys
import time

import conftest
import pytest

import kcomp
from kcomp.notebook.process import to_exception
from kcomp.system import files
from kcomp.system.errors import BusyError

RECIPE = """
from dataclasses import dataclass
from pathlib import Path
import keras
import numpy as np
import time
from kcomp import data
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    epochs: int = 1
    sizes: tuple[int, ...] = (8, 8)
    fault: str = ""

def digits(): return data.sklearn_digits().rows(np.arange(60))

def table(config):
    if config.fault == "sleep":
        Path("asleep").touch()
        time.sleep(60)
    if config.fault:
        raise ValueError("labels are\\nmissing")
    return data.folds(digits(), 3, seed=0)

def test(config): return digits().rows(np.arange(5))

def batches(config, rows, training, seed):
    return data.Batches(rows, config.sizes, batch_size=8, training=training, seed=seed)

def model(config, target):
    inputs = keras.Input((*config.sizes, 3))
    return keras.Model(inputs, keras.layers.Dense(target.outputs, name="head")(keras.layers.Flatten()(inputs)))

def stages(config):
    return [Stage("only", config.epochs, "head", keras.optimizers.Adam(1e-3))]

recipe = Recipe(Config(), table=table, test=test, batches=batches, model=model, stages=stages)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in conftest.environment("").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setattr(sys, "executable", str(conftest.warm_python()))
    conftest.ForkServer.start_all()
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter does
    (tmp_path / "tiny.py").write_text(RECIPE)
    return tmp_path


def test_import_is_light():
    heavy = {"keras", "jax", "torch", "numpy", "pandas", "rich"}
    code = f"import sys, kcomp; print(sorted({heavy} & set(sys.modules))); kcomp.train, kcomp.predict, kcomp.ensemble, kcomp.Run; "
    code += "print({'keras', 'jax', 'torch'} & set(sys.modules), set(kcomp.__all__) <= set(dir(kcomp)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nset() True\n"
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = kcomp.tarin


@pytest.mark.skipif(any(param.marks[0].args[0] for param in conftest.backends()), reason="needs both backends")
def test_both_backends_serve_one_process(folder, capsys):
    before = set(sys.modules)
    runs = {name: kcomp.train("tiny.py", backend=name, epochs=2, sizes=(4, 6), seed=3) for name in ("jax", "torch")}
    assert not {"keras", "jax", "torch"} & (set(sys.modules) - before)
    printed = capsys.readouterr().out
    assert printed.count("epoch   2/2 ") == 2 and "KERAS_BACKEND" not in printed
    assert "img/s" not in printed  # the bar of `kcomp train` itself, which needs a terminal
    for name, run in runs.items():
        assert run.complete and run.folder.parts[-1] == f"{name}-seed3-fold0"
        assert json.loads((run / "config.json").read_text()) == {"epochs": 2, "sizes": [4, 6], "fault": ""}
        assert run.oof.shape == run.labels.shape == (20, 10) and list(run.oof.index) == list(run.labels.index)
        assert list(run.log["epoch"]) == [1, 2] and run.log["loss"].notna().all()
        accuracy = (run.oof.to_numpy().argmax(1) == run.labels.to_numpy().argmax(1)).mean()
        assert run.result["scores"]["accuracy"] == pytest.approx(accuracy)
    assert (runs["jax"].oof - runs["torch"].oof).abs().to_numpy().max() < 1e-4
    predicted = kcomp.predict(runs["torch"].folder)
    assert predicted.shape == (5, 10) and predicted.equals(runs["torch"].test)
    assert "test.csv: 5 rows" in capsys.readouterr().out
    check_ensemble(runs)


def check_ensemble(runs):
    with pytest.raises(ValueError, match="no run at or below nothing"):
        kcomp.ensemble([*runs.values(), "nothing"])
    with pytest.raises(ValueError, match=r"method must be one of mean, .*received 'maen'"):
        kcomp.ensemble(["runs"], method="maen")
    joined = kcomp.ensemble([runs["jax"], "runs"])
    assert joined.test is None and list(joined.scores.index)[-1] == "mean" and len(joined.scores) == 3
    mean = (runs["jax"].oof + runs["torch"].oof) / 2
    accuracy = (mean.to_numpy().argmax(1) == runs["jax"].labels.to_numpy().argmax(1)).mean()
    assert joined.scores.loc["mean", "accuracy"] == pytest.approx(accuracy)
    single = kcomp.ensemble([runs["torch"]])
    assert (single.test - runs["torch"].test).abs().to_numpy().max() < 1e-6


def test_the_plot_shows_the_log(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    run = kcomp.Run(str(tmp_path / "run"))
    assert run.log.empty and run.log_rows() == []
    names = "recipe fingerprint backend seed fold table classes metric".split()
    files.write_json(
        run / "manifest.json",
        dict.fromkeys(names, "x") | {"scores": ["mae", "r2"], "seed": 0, "fold": 0, "classes": ["a"]},
    )
    with pytest.raises(ValueError, match=r"log\.csv has none"):
        run.plot()
    rows = ["epoch,stage,rate,loss,mae,r2", "1,head,0.1,2,5,0.1", "2,all,0.01,1.5,4,0.2", "3,all,0.01,1,4.5,0.15"]
    (run / "log.csv").write_text("\n".join(rows) + "\n")
    files.write_json(run / "result.json", {"scores": {"mae": 4}, "seconds": 1, "epoch": 2})
    before = dict(matplotlib.rcParams)
    loss, mae, r2, rate = run.plot().axes
    assert dict(matplotlib.rcParams) == before and not matplotlib.pyplot.get_fignums()
    assert [axis.get_ylabel() for axis in (loss, mae, r2, rate)] == ["loss", "mae", "r2", "learning rate"]
    assert [list(axis.lines[0].get_ydata()) for axis in (loss, rate)] == [[2, 1.5, 1], [0.1, 0.01, 0.01]]
    assert [list(line) for line in mae.lines[1].get_data()] == [[2], [4]]  # the epoch of the best weights
    assert list(r2.lines[2].get_xdata()) == [1.5, 1.5]  # the second stage begins with epoch 2


def test_an_error_of_the_child_is_one_exception(folder):
    with pytest.raises(ValueError) as error:
        kcomp.train("tiny.py", fault="value")
    assert str(error.value) == f"labels are missing ({folder}/tiny.py, line 23)"
    assert error.value.__context__ is None and not (folder / "runs").exists()


def test_a_wrong_value_is_one_exception(folder):
    with pytest.raises(ValueError, match="the recipe has no value 'epoch'; did you mean 'epochs'"):
        kcomp.train("tiny.py", epoch=2)
    with pytest.raises(TypeError, match=r"sizes is \{8\}"):
        kcomp.train("tiny.py", sizes={8})
    with pytest.raises(TypeError, match="pass the path; received int"):
        kcomp.train(5)
    with pytest.raises(ValueError, match="the backend must be jax or torch; received 'jaxx'"):
        kcomp.train("tiny.py", backend="jaxx")


def test_exceptions_by_name():
    assert type(to_exception("BusyError", "busy")) is BusyError
    assert type(to_exception("DamagedError", "damaged")) is files.DamagedError
    for name in ("UnicodeDecodeError", "XlaRuntimeError", "KeyboardInterrupt", "annotations"):
        assert repr(to_exception(name, "text")) == f"RuntimeError('{name}: text')"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_an_interrupt_ends_the_child(folder):
    code = f"import sys; sys.executable = {sys.executable!r}\n"
    code += "import kcomp\ntry: kcomp.train('tiny.py', fault='sleep')\nexcept KeyboardInterrupt: print('stopped')"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=folder)
    while not (folder / "asleep").exists():
        assert process.poll() is None
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0].endswith("stopped\n")  # after the bar
    assert time.monotonic() - begun < 9  # the child ends at once; after 10 s it would be killed
