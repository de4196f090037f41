"""Rates that fall when the score stops improving: the rule, and the same rates in a run that was killed."""

import random

import conftest
import numpy as np
import pandas as pd
import pytest

RECIPE = '''
"""A small network whose score does not improve in each epoch."""
from dataclasses import dataclass
import os, time
import keras
import numpy as np
from kcomp import data, models, schedules
from kcomp.recipe import Recipe, Stage

@dataclass(frozen=True)
class Config:
    rate: str = "plateau"
    epochs: int = 9
    optimizer: str = "SGD"
    rows: int = 80

def table(config):
    return data.stratified_folds(data.sklearn_digits().rows(np.arange(config.rows)), 4, seed=0)

def batches(config, rows, training, seed):
    return data.Batches(rows, 8, batch_size=16, training=training, seed=seed)

def model(config, target):
    x = inputs = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(8, 3, 2, activation="relu", name="block_conv")(x)
    return models.classifier(keras.Model(inputs, x, name="small"), target, dropout=0.3)

class Pause(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None): time.sleep(float(os.environ.get("PAUSE", 0)))

def stages(config):
    rate = schedules.Plateau(2.0, patience=1, factor=0.7, cooldown=1) if config.rate == "plateau" else 2.0
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    return [Stage("head", 1, "head", keras.optimizers.SGD(0.1)), Stage("all", config.epochs, "all", optimizer)]

def callbacks(config):
    if config.rate == "plateau":
        return [Pause()]
    watched = {"monitor": "log_loss", "mode": "min"}
    return [keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.7, cooldown=1, **watched),
            keras.callbacks.EarlyStopping(patience=6, **watched), Pause()]

recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, callbacks=callbacks, metric="log_loss")
'''

PEER = """
import keras
import numpy as np
from kcomp import schedules
class Network(keras.Model):
    def call(self, inputs): return inputs
draws, cases = np.random.default_rng(0), []
for patience, factor, cooldown in ((1, 0.5, 0), (2, 0.5, 2), (3, 0.1, 1), (2, 0.7, 3)):
    scores = draws.integers(0, 12, 60) / 12
    ours = schedules.Plateau(0.8, patience, factor, cooldown, final=0.01, steps_per_epoch=1)
    ours.attach(keras.optimizers.SGD(ours))
    model = Network()
    model.compile(keras.optimizers.SGD(0.8))
    peer = keras.callbacks.ReduceLROnPlateau("score", factor, patience, mode="max", min_delta=0, min_lr=0.01,
                                             cooldown=cooldown + 1 if cooldown else 0)  # Keras counts the fall's epoch
    peer.set_model(model)
    peer.on_train_begin()
    rates = []
    for epoch, score in enumerate(scores):
        peer.on_epoch_end(epoch, {"score": score})
        ours.update(scores[: epoch + 1].tolist(), lambda score, best: score > best)
        rates.append((float(ours(99)), float(model.optimizer.learning_rate.numpy())))
    cases.append(rates)
hand = schedules.Plateau(1.0, 2, 0.5, cooldown=2, final=0.2)
falls = [hand.count_falls([3, 2, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1][:count], lambda score, best: score < best) for count in range(13)]
give(cases=cases, falls=falls)
"""

IN_STEP = """
import keras
import numpy as np
from kcomp import schedules
from kcomp.training import rates
plateau = schedules.Plateau(0.8, 1, 0.25)
x = keras.Input((1,))
model = keras.Model(x, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(x))
optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(1.0), {"dense/.*": keras.optimizers.SGD(plateau)}))
rates.bind(optimizer, 1)
model.compile(optimizer, loss=lambda labels, outputs: keras.ops.mean(outputs))  # the gradient is 1
weights = [0.0]
def after(epoch, logs):
    weights.append(float(model.weights[0].numpy()[0, 0]))
    rates.update_plateaus(optimizer, [0.5] * (epoch + 1), lambda score, best: score > best)
model.fit(np.ones((1, 1)), np.ones((1, 1)), epochs=4, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=after)])
names = [variable.name for variable in optimizer.variables]
give(steps=(-np.diff(weights)).tolist(), saved="plateau_scale" in names, now=rates.rate_of(rates.parts_of(optimizer)[0]))
"""


@pytest.mark.parametrize("backend", conftest.one_slow())
def test_rates_are_those_of_keras(backend):
    measured = conftest.in_backend(backend, PEER)
    for rates in measured["cases"]:
        ours, theirs = np.array(rates).T
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        assert len(set(ours)) >= 3  # it falls at least twice
    # Scores by which 2 is the best until the ninth epoch: epochs 3 and 4 are worse, 5 and 6 do not count, then 7 and 8.
    assert measured["falls"] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


@pytest.mark.parametrize("backend", conftest.backends())
def test_the_compiled_step_reads_the_rate(backend):
    measured = conftest.in_backend(backend, IN_STEP)
    np.testing.assert_allclose(measured["steps"], [0.8, 0.8, 0.2, 0.05], rtol=1e-5)
    assert measured["saved"] and measured["now"] == pytest.approx(0.0125)


def variants():
    """Both backends and both rates; without `-m slow`, each backend with one of the rates."""
    for parameter in conftest.backends():
        backend = parameter.values[0]
        for rate in ("plateau", "callbacks"):
            slow = [pytest.mark.slow] if (backend, rate) != ("torch", "callbacks") else []
            yield pytest.param(backend, rate, marks=[*parameter.marks, *slow])


@pytest.mark.parametrize(("backend", "rate"), variants())
def test_a_killed_run_lowers_its_rate_at_the_same_epochs(backend, rate, tmp_path):
    (tmp_path / "small.py").write_text(RECIPE)
    train = ("train", "small.py", "--set", f"rate={rate}", "-o")
    conftest.kcomp(*train, "whole", backend=backend, cwd=tmp_path)
    for epochs in sorted(random.sample(range(1, 9), 3)):
        conftest.killed_after(epochs, tmp_path / "run", (*train, "run"), backend=backend, cwd=tmp_path)
    conftest.kcomp(*train, "run", backend=backend, cwd=tmp_path)
    ours, theirs = (pd.read_csv(tmp_path / name / "log.csv") for name in ("run", "whole"))
    exact = ["epoch", "stage", "rate", "loss", "log_loss"]
    pd.testing.assert_frame_equal(ours[exact], theirs[exact])
    assert (tmp_path / "run" / "oof.csv").read_bytes() == (tmp_path / "whole" / "oof.csv").read_bytes()
    assert theirs.rate[1:].nunique() >= 3


@pytest.mark.parametrize("backend", conftest.backends()[1:])
def test_plateaus_that_cannot_work_are_rejected_before_training(backend, tmp_path):
    plateau = "schedules.Plateau(2.0, patience=1,"
    cases = {
        "shorter": ('"all", optimizer)', '"all", optimizer, patience=1)', "must be above that of Plateau, 1", []),
        "scheduled": ("else 2.0", "else schedules.Step(2.0, 3)", "sets a rate that follows Step; use a number", ["rate=x"]),
        "weights": ("(patience=6,", "(patience=6, restore_best_weights=True,", "leave out restore_best_weights", ["rate=x"]),
        "patience": (plateau, plateau.replace("=1", "=0"), "patience must be at least 1 epoch", []),
        "tail": (plateau, f"schedules.Tail({plateau}", "must be the optimizer's own rate", []),
    }  # fmt: skip
    calls = []
    for name, (before, after, _, values) in cases.items():
        source = RECIPE.replace(before, after).replace(
            "cooldown=1) if", "cooldown=1), 2, 0.1) if" if name == "tail" else "cooldown=1) if"
        )
        (tmp_path / f"{name}.py").write_text(source)
        calls.append(
            ["train", tmp_path / f"{name}.py", *(f"--set={value}" for value in values), "-o", tmp_path / "run"]
        )
    for (code, _, error), (*_, message, _) in zip(conftest.commands(backend, calls), cases.values(), strict=True):
        assert code == 1 and message in error and error.count("\n") == 1, error
    assert not (tmp_path / "run").exists()
