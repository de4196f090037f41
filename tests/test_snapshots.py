"""Snapshot ensembles: the schedule by the paper's formula, the mean of the snapshots' predictions, kill and continue."""

import json

import conftest
import h5py
import numpy as np
import pandas as pd
import pytest

RECIPE = '''
"""A tiny network on a few digits; a head, then what the value `average` says, in one more stage."""
from dataclasses import dataclass
import os, time
import keras
import numpy as np
from keras import layers
from kcomp import augment, data, models, schedules
from kcomp.averaging import EMA, SWA, Snapshots
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rate: float = 1e-2
    epochs: int = 4
    cycles: int = 2
    last: int | None = None
    average: str = "snapshots"
    schedule: str = "restarts"
    norm: bool = True

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(160)), 4, seed=0)

def test(config):
    return data.sklearn_digits().rows(np.arange(1750, 1797))

def batches(config, rows, training, seed):
    return data.Batches(rows, 16, batch_size=16, training=training, seed=seed, layers=[augment.MixUp(0.1)])

def model(config, target):
    x = inputs = keras.Input((16, 16, 3), name="images")
    x = layers.Rescaling(1 / 64, -2.0)(x)
    for number, width in enumerate((8, 12)):
        x = layers.Conv2D(width, 3, 2, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"block{number}_bn")(x))
    return models.classifier(keras.Model(inputs, x, name="tiny"), target, dropout=0.2)

class Pause(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None): time.sleep(float(os.environ.get("PAUSE", 0)))

def stages(config):
    rates = {"restarts": schedules.CosineRestarts(config.rate, config.epochs, config.cycles),
             "cosine": schedules.WarmupCosine(config.rate, config.epochs),
             "tail": schedules.Tail(schedules.Constant(config.rate), 2, config.rate / 2)}
    averages = {"snapshots": Snapshots(config.last), "swa": SWA(2), "ema": EMA(0.8), "none": None}
    rate, average = rates[config.schedule], averages[config.average]
    return [Stage("head", 1, "head", keras.optimizers.Adam(config.rate), label_smoothing=0.1),
            Stage("all", config.epochs, "all", keras.optimizers.Adam(rate, epsilon=1e-3), label_smoothing=0.1, train_batch_norm=config.norm, average=average)]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, test=test,
                callbacks=lambda config: [Pause()], keep="last")
'''
KEEPS_BEST = RECIPE.replace('keep="last")', 'keep="best")')


def write(folder, source=RECIPE):
    (folder / "recipe.py").write_text(source)


@pytest.mark.parametrize("backend", conftest.backends())
def test_rates_are_the_papers(backend):
    """Huang et al. 2017, equation 2, for updates t = 1..T; T / M = 10 / 3 is rounded up."""
    found = conftest.in_backend(
        backend,
        """
import keras
from kcomp import schedules
from kcomp.training.rates import rate_of
cosine = schedules.CosineRestarts(0.4, 5, 3, steps_per_epoch=2)
again = type(cosine).from_config(cosine.get_config())
floor = schedules.CosineRestarts(0.4, 2, 2, final=0.1, steps_per_epoch=2)
warm = schedules.CosineRestarts(0.4, 1, 2, warmup=0.25, steps_per_epoch=4)
optimizer = keras.optimizers.SGD(cosine)
rates = []
variable = keras.Variable(1.0)
optimizer.build([variable])
for _ in range(10):
    rates.append(rate_of(optimizer))
    optimizer.apply([keras.ops.ones(())], [variable])
messages = []
for wrong in ({"cycles": 0}, {"cycles": 5, "warmup": 2}):
    try: schedules.CosineRestarts(1.0, 10, **wrong)
    except ValueError as error: messages.append(str(error))
give(rates=rates, again=[float(again(step)) for step in range(10)], floor=[float(floor(step)) for step in range(4)], warm=[float(warm(step)) for step in range(4)],
     value=float(variable.value), messages=messages)
""",
    )
    expected = [0.4 / 2 * (np.cos(np.pi * ((t - 1) % 4) / 4) + 1) for t in range(1, 11)]
    assert expected[4] == expected[8] == 0.4 and expected[2] == pytest.approx(0.2)
    np.testing.assert_allclose(found["rates"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["again"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["floor"], [0.4, 0.25, 0.4, 0.25], rtol=1e-5)
    np.testing.assert_allclose(
        found["warm"], [0.2, 0.2, 0.4, 0.2], rtol=1e-5
    )  # half of 0.4, then 0.4 and 0.2 as they are
    assert found["value"] == pytest.approx(1 - sum(expected), rel=1e-5)
    assert len(found["messages"]) == 2 and "shorter than a cycle of 2 epochs" in found["messages"][1]


TRAIN = ("train", "recipe.py", "--seed", "3")
HAND = """
import sys
import numpy as np
from pathlib import Path
from kcomp import data
from scipy.special import softmax
from kcomp.runs.folder import Run
run = Run(Path(sys.argv[1]))
recipe = run.recipe().recipe
found = {}
for name, table in (("oof", data.split(recipe.table(recipe.config), 0)[1]), ("test", recipe.test(recipe.config))):
    network = recipe.model(recipe.config, table.target)
    rows = recipe.batches(recipe.config, table, training=False, seed=3)
    each = []
    for number in sys.argv[2:]:
        network.load_weights(run / f"snapshots/{number}.weights.h5")
        each.append(softmax(network.predict(np.stack([rows.image(row) for row in range(len(table))]), verbose=0), axis=-1))
    found[name] = [one.tolist() for one in each]
give(**found)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshots")
    write(folder)
    for backend in ("jax", "torch"):
        done = conftest.kcomp(*TRAIN, "-o", backend, backend=backend, cwd=folder)
        assert "the mean of 2 snapshots)" in done.stdout
    return folder


@pytest.mark.parametrize("backend", conftest.backends())
def test_a_run_predicts_the_mean_of_its_snapshots(trained, backend):
    run = trained / backend
    assert sorted(path.name for path in (run / "snapshots").iterdir()) == ["1.weights.h5", "2.weights.h5"]
    assert (run / "snapshots/2.weights.h5").read_bytes() != (run / "snapshots/1.weights.h5").read_bytes()
    conftest.kcomp("predict", run, "--views", "none", backend=backend, cwd=trained)
    hand = conftest.in_backend(backend, HAND, run, 1, 2)
    for name, each in hand.items():
        written = pd.read_csv(run / f"{name}.csv").drop(columns="image_id").to_numpy()
        np.testing.assert_allclose(written, np.mean(each, 0), atol=2e-6)
        assert np.abs(written - each[1]).max() > 1e-3  # it is not the last one's
    result, log = json.loads((run / "result.json").read_text()), pd.read_csv(run / "log.csv")
    told = result["average"]
    assert told["method"] == "snapshots" and told["weights"] == ["snapshots/1.weights.h5", "snapshots/2.weights.h5"]
    for weights, epoch in zip(told["weights"], (3, 5)):  # one epoch of the head, two cycles of two
        assert told["scores"][weights]["log_loss"] == pytest.approx(log.log_loss[epoch - 1], abs=1e-6)
    assert result["epoch"] == 5 and log.epoch.tolist() == [1, 2, 3, 4, 5]
    assert log.rate.tolist()[1:] == pytest.approx([1e-2, 5e-3, 1e-2, 5e-3], rel=1e-4)


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_a_killed_run_continues_as_if_nothing_had_happened(trained, backend, tmp_path):
    write(tmp_path)
    conftest.killed_after(3, tmp_path / "run", (*TRAIN, "-o", "run"), backend=backend, cwd=tmp_path)
    assert (tmp_path / "run/snapshots/1.weights.h5").is_file()
    conftest.kcomp(*TRAIN, "-o", "run", backend=backend, cwd=tmp_path)
    assert (tmp_path / "run/oof.csv").read_bytes() == (trained / backend / "oof.csv").read_bytes()


@pytest.mark.parametrize("backend", conftest.backends()[1:])
def test_last_export_and_from(trained, backend, tmp_path):
    """Only the last snapshot counts with last=1; it is what --from takes; several are no single classifier."""
    write(tmp_path)
    conftest.kcomp(*TRAIN, "-o", "one", "--set", "last=1", backend=backend, cwd=tmp_path)
    one = pd.read_csv(tmp_path / "one/oof.csv").drop(columns="image_id")
    hand = conftest.in_backend(backend, HAND, tmp_path / "one", 2)
    np.testing.assert_allclose(one, hand["oof"][0], atol=2e-6)
    refused = conftest.kcomp("export", trained / backend, cwd=tmp_path, check=False)
    assert refused.returncode == 1 and "mean of 2 snapshots" in refused.stderr and "last=1" in refused.stderr
    assert not (trained / backend / "model.onnx").exists()
    again = conftest.kcomp(*TRAIN, "--from", trained / backend, "-o", "again", backend=backend, cwd=tmp_path)
    assert f"starts from the weights of {trained / backend}/best.weights.h5" in again.stdout
    files = trained / backend / "best.weights.h5", trained / backend / "snapshots/2.weights.h5"
    one, two = map(arrays_of, files)
    assert one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)


def arrays_of(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
        )
    return found


@pytest.mark.parametrize("backend", conftest.backends()[1:])  # none of it is the backend's doing
def test_what_does_not_go_together_is_refused(backend, tmp_path):
    write(tmp_path)
    head = '"head", keras.optimizers.Adam(config.rate), label_smoothing=0.1'
    sources = {"best": KEEPS_BEST, "early": RECIPE.replace(head + ")", head + ", average=EMA())")}
    sources["two"] = RECIPE.replace("epsilon=1e-3)", "use_ema=True)")
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    cases = (
        (
            "recipe",
            "cycles=3",
            "4 epochs in cycles of whole epochs: [1, 2, 4]; received 4 epochs in 3 cycles",
        ),
        ("recipe", "schedule=cosine", "need schedules.CosineRestarts(peak, epochs, cycles)"),
        ("recipe", "last=0", "at least 1 snapshot, or None for all; received 0"),
        ("recipe", "last=3", "Snapshots(last=3) takes more snapshots than 2 cycles make"),
        ("best", "rate=0.1", "the recipe must have keep='last'"),
        ("early", "rate=0.1", "only the last stage may have an average"),
        ("two", "average=ema", "EMA and the optimizer's use_ema are two averages"),
    )
    calls = [
        ["train", str(tmp_path / f"{name}.py"), "--set", value, "-o", str(tmp_path / "run")] for name, value, _ in cases
    ]
    done = conftest.commands(backend, calls)
    for (code, _, error), (_, _, message) in zip(done, cases, strict=True):
        assert code == 1 and message in error and error.count("\n") == 1, error
    assert not (tmp_path / "run").exists()
