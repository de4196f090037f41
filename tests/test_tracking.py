"""TensorBoard and Weights & Biases get what log.csv gets, once an epoch, also where a run was killed and continued."""

import importlib.util
import json
import struct

import conftest
import pandas as pd
import pytest

RECIPE = """
from dataclasses import dataclass
import os
import keras, numpy as np
from keras import layers
from kcomp import data, tracking
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rate: float = 1e-2
    sizes: tuple[int, ...] = (8, 4)
    epochs: int = 3

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(120)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 8, batch_size=16, training=training, seed=seed)

def model(config, target):
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Dense(config.sizes[0], activation="relu", name="dense")(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(target.outputs, name="head")(x))

def stages(config):
    return [Stage("head", 1, "head", keras.optimizers.Adam(config.rate)),
            Stage("all", config.epochs, "all", keras.optimizers.Adam(config.rate))]

class Killed(keras.callbacks.Callback):
    '''Ends the process after the trackers have had an epoch, before it is recorded.'''
    def on_epoch_end(self, epoch, logs=None):
        if epoch == int(os.environ.get("KILL_IN", -1)):
            os.kill(os.getpid(), 9)

def callbacks(config):
    return [TRACKERS, Killed()]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, callbacks=callbacks)
"""
RUN = "one"


def trained(folder, trackers, monkeypatch, backend="jax"):
    """The log of a run that was killed in its third epoch and then continued, and its result."""
    pytest.importorskip(backend)
    (folder / "tiny.py").write_text(RECIPE.replace("TRACKERS", trackers))
    command = ["train", "tiny.py", "-o", RUN]
    monkeypatch.setenv("KILL_IN", "2")
    assert conftest.kcomp(*command, backend=backend, cwd=folder, check=False).returncode == -9
    monkeypatch.delenv("KILL_IN")
    conftest.kcomp(*command, backend=backend, cwd=folder)
    log = pd.read_csv(folder / RUN / "log.csv")
    assert list(log["epoch"]) == [1, 2, 3, 4]
    return log, json.loads((folder / RUN / "result.json").read_text())


def tensorboard_events(path):
    """The records of an event file: length, checksum, content, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content, place = path.read_bytes(), 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length


@pytest.mark.parametrize("backend", conftest.backends())
def test_tensorboard_has_what_the_log_has(backend, tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    log, result = trained(tmp_path, "tracking.TensorBoard()", monkeypatch, backend)
    [path] = (tmp_path / RUN / "tensorboard").iterdir()
    events = list(tensorboard_events(path))
    found, plugin = {}, {}
    for event in events:
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                plugin[value.tag] = value.metadata.plugin_data.content
            else:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    curves = [name for name in log if name not in ("epoch", "stage")]
    assert {"loss", "log_loss", "rate", "images_per_second"} <= set(curves)
    assert set(found) == {*curves, *(f"final/{name}" for name in result["scores"])}
    for name in curves:  # each epoch once, the same number
        assert [step for step, _ in found[name]] == [1, 2, 3, 4]
        assert [value for _, value in found[name]] == pytest.approx(list(log[name]), rel=1e-6)
    for name, value in result["scores"].items():
        assert found[f"final/{name}"] == [(4, pytest.approx(value, rel=1e-6))]
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    values = HParamsPluginData.FromString(plugin["_hparams_/session_start_info"]).session_start_info.hparams
    assert values["rate"].number_value == 1e-2 and values["sizes"].string_value == "(8, 4)"
    assert set(plugin) == {f"_hparams_/{name}" for name in ("experiment", "session_start_info", "session_end_info")}


def wandb_records(path):
    """The records of a .wandb file: blocks of 32 KiB, as LevelDB writes its log, behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def test_wandb_has_what_the_log_has(tmp_path, monkeypatch):
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log, result = trained(tmp_path, 'tracking.WandB(project="digits")', monkeypatch)
    [file] = (tmp_path / RUN / "wandb").glob("offline-run-*/*.wandb")  # the one of the killed process is replaced
    kept = json.loads((tmp_path / RUN / "wandb.json").read_text())
    history, summary, config, ids = [], {}, {}, set()
    for record in wandb_records(file):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            history.append(
                {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            )
        elif kind == "summary":
            summary |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}
        elif kind == "run":
            ids.add((record.run.run_id, record.run.project))
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert ids == {(kept["id"], "digits")} and config["rate"] == 1e-2 and config["seed"] == 0
    assert [row["_step"] for row in history] == [1, 2, 3, 4]
    for name in ("log_loss", "loss", "rate"):
        assert [row[name] for row in history] == pytest.approx(list(log[name]), rel=1e-6)
    assert summary["final/log_loss"] == result["scores"]["log_loss"]


def test_a_missing_login_is_reported_before_the_training(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in (("HOME", tmp_path), ("NETRC", tmp_path / "netrc"), ("WANDB_MODE", "online")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (tmp_path / "tiny.py").write_text(RECIPE.replace("TRACKERS", "tracking.WandB()"))
    done = conftest.kcomp("train", "tiny.py", "-o", RUN, backend="jax", cwd=tmp_path, check=False, fresh=True)
    assert done.returncode == 1 and "is not logged in to W&B; run `wandb login`, set WANDB_API_KEY" in done.stderr
    assert not (tmp_path / RUN).exists() and "epoch" not in done.stdout


def test_the_extra_is_named():
    done = conftest.in_backend(
        "torch" if importlib.util.find_spec("jax") is None else "jax",
        """
        from kcomp.system import backends
        from kcomp import tracking
        backends.is_installed = lambda name: False
        said = []
        for make in (tracking.TensorBoard, tracking.WandB):
            try:
                make()
            except ModuleNotFoundError as error:
                said.append(str(error))
        give(said=said)
        """,
    )
    assert [text.partition("kcomp[")[2] for text in done["said"]] == ["track]'", "wandb]'"]
