"""Averages of weights over a stage: EMA and SWA by hand, what is refused, and continuing bit for bit."""

import json

import conftest
import numpy as np
import pandas as pd
import pytest
from test_snapshots import RECIPE

PARTS = """
from types import SimpleNamespace
import keras
import numpy as np
from keras import layers
from rich.console import Console
from kcomp import data, schedules, targets
from kcomp.prediction.forward import compile_forward, predict_rows
from kcomp.averaging import EMA, SWA
from kcomp.recipe import Stage
from kcomp.training.averages.ema_swa import StageEMA, StageSWA
from kcomp.training.mixed import Mixed
x = inputs = keras.Input((2, 2, 3))
x = layers.Conv2D(2, 1, use_bias=False, name="frozen")(layers.Rescaling(1 / 99)(x))
x = layers.Flatten()(layers.BatchNormalization(name="norm", momentum=0.8)(x))
network = keras.Model(inputs, layers.Dense(2, use_bias=False, name="head")(layers.Dropout(0.3)(x)))
network.get_layer("frozen").trainable = False
read = lambda variables: [np.array(keras.ops.convert_to_numpy(v.value), np.float64).tolist() for v in variables]
loss = keras.losses.CategoricalCrossentropy(from_logits=True)
draws = np.random.default_rng(0)
batch = lambda: {"images": draws.uniform(0, 255, (8, 2, 2, 3)).astype("float32"), "labels": np.eye(2, dtype="float32")[draws.integers(0, 2, 8)]}
"""
STEPS = (
    PARTS
    + """
import sys
steps, accumulated, decay = map(float, sys.argv[1:])
optimizer = keras.optimizers.Adam(0.3, gradient_accumulation_steps=int(accumulated) if accumulated > 1 else None)
stage = Stage("all", 1, "all", optimizer, loss, average=EMA(decay))
stage_average = StageEMA(SimpleNamespace(network=network), stage, decay)
names = [source.path for source in stage_average.sources]
model = Mixed(network, [], None, stage_average)
model.compile(optimizer, loss)
seen = [read(stage_average.sources)]
model.fit(((batch(),) for _ in range(int(steps))), epochs=int(steps), steps_per_epoch=1, verbose=0, shuffle=False,
          callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(read(stage_average.sources)))])
behind = read(stage_average.values)
stage_average.complete()
give(seen=seen, behind=behind, found=read(stage_average.values), put=read(stage_average.sources), names=names, count=int(stage_average.count.value))
"""
)


def recurrence(seen, decay):
    """The average after each of the updates whose weights are `seen`, the first the weights of the start; float64."""
    averages = [[np.array(one) for one in seen[0]]]
    for t, weights in enumerate(seen[1:], 1):
        d = min(decay, (1 + t) / (10 + t))
        averages.append([d * old + (1 - d) * np.array(new) for old, new in zip(averages[-1], weights)])
    return averages


def close(found, expected):
    return all(np.allclose(one, two, rtol=1e-5, atol=1e-6) for one, two in zip(found, expected, strict=True))


@pytest.mark.parametrize("backend", conftest.backends())
@pytest.mark.parametrize(("steps", "accumulated", "decay"), [(9, 1, 0.4), (7, 2, 0.999)])
def test_ema_is_the_recurrence(backend, steps, accumulated, decay):
    """Of the trained weights and batch normalisation's statistics, after every update, with the decay's warm-up."""
    found = conftest.in_backend(backend, STEPS, steps, accumulated, decay)
    assert [name.rpartition("/")[2] for name in found["names"]] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
        "kernel",
    ]
    updates = found["seen"][::accumulated]
    averages = recurrence(updates, decay)
    assert close(found["found"], averages[-1]) and found["put"] == found["found"] and found["count"] == steps + 1
    assert close(found["behind"], averages[-2] if steps % accumulated == 0 else averages[-1])
    assert not close(found["found"], updates[-1]) and not close(averages[-1], averages[-2])
    assert accumulated == 1 or len(averages) == 4


OUTCOME = (
    PARTS
    + """
import sys
from pathlib import Path
from kcomp.metrics import log_loss
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run
from kcomp.training.progress import TrainingProgress
table = data.sklearn_digits().rows(np.arange(40))
table = data.Table(table.frame[["image_id", "image"]].assign(a=[1.0, 0.0] * 20, b=[0.0, 1.0] * 20), targets.OneOf(("a", "b")))
rows, training = (data.Batches(table, 2, batch_size=8, training=training, seed=0) for training in (False, True))
forward, scorer = compile_forward(network), Scorer(log_loss, table.target)
def outcome(average, log, epochs, name):
    stage = Stage("all", 9, "all", keras.optimizers.SGD(0.1), loss, train_batch_norm=True, average=average)
    progress = TrainingProgress(stage_epochs=epochs, epochs=epochs + 1, best_epoch=epochs + 1, log=[{"epoch": n, "log_loss": x} for n, x in enumerate(log, 1)])
    session = SimpleNamespace(scorer=scorer, scores=lambda predictions: scorer.all(table.labels, predictions), network=network, run=Run(Path(sys.argv[1]) / name), recipe=SimpleNamespace(keep="last"), progress=progress,
        validation=SimpleNamespace(table=table), training=training, console=Console(), validate=lambda: predict_rows(forward, rows, table.target))
    stage_average = StageSWA(session, stage, average)
    seen = []
    for number in range(1, epochs + 1):
        for source in stage_average.sources: source.assign(source.value + number * 0.1)
        stage_average.epoch_ended(number)
        seen.append(read(stage_average.sources))
    kept = read(stage_average.values)
    found, told = stage_average.outcome()
    mean, (gamma, beta, *statistics, kernel) = kept, read(stage_average.sources)
    return dict(seen=seen, kept=kept, put=[gamma, beta, kernel], statistics=statistics, told=told, none=found is None,
        score=None if found is None else scorer(table.labels, found), written=(session.run / "best.weights.h5").is_file())
give(kept=outcome(SWA(2, every=2), [9.0] * 6, 5, "a"), refused=outcome(SWA(1), [9.0, 9.0, 1e-3, 9.0], 3, "b"),
     early=outcome(SWA(2), [9.0] * 3, 2, "c"), head=outcome(SWA(1), [1e-3, 9.0, 9.0], 2, "d"))
"""
)


@pytest.mark.parametrize("backend", conftest.backends())
def test_swa_is_the_mean_and_is_kept_only_where_it_gains(backend, tmp_path):
    found = conftest.in_backend(backend, OUTCOME, tmp_path)
    kept, refused, early, head = (found[name] for name in ("kept", "refused", "early", "head"))
    mean = [np.mean([np.array(kept["seen"][epoch - 1][place]) for epoch in (2, 4)], 0) for place in range(5)]
    assert close(kept["kept"], mean) and close(kept["put"], [mean[0], mean[1], mean[4]])
    assert not close(kept["statistics"], mean[2:4])  # estimated anew, see test_soup.py
    assert kept["told"]["accepted"] and kept["told"]["epochs"] == [3, 5]  # of the run: a head came before
    assert kept["told"]["score"] == pytest.approx(kept["score"]) and kept["told"]["best_score"] == 9.0
    assert kept["written"] and not kept["none"]
    assert refused["none"] and not refused["told"]["accepted"] and not refused["written"]
    assert refused["told"]["best_epoch"] == 3 and "no gain over 0.0010 of epoch 3" in refused["told"]["reason"]
    assert early["none"] and "with 1 epochs to average" in early["told"]["reason"]
    assert head["told"]["accepted"]  # an epoch that was not averaged is no ingredient


TRAIN = ("train", "recipe.py", "--seed", "3", "--set", "schedule=tail")
EXACT = ["epoch", "stage", "rate", "loss", "log_loss", "accuracy"]


@pytest.mark.parametrize(
    ("backend", "average"),
    [("jax", "ema"), *(pytest.param("torch", kind, marks=pytest.mark.slow) for kind in ("ema", "swa"))],
)
def test_a_killed_run_continues_as_if_nothing_had_happened(backend, average, tmp_path):
    (tmp_path / "recipe.py").write_text(RECIPE)
    train = (*TRAIN, "--set", f"average={average}")
    done = conftest.kcomp(*train, "-o", "whole", backend=backend, cwd=tmp_path).stdout
    conftest.killed_after(3, tmp_path / "run", (*train, "-o", "run"), backend=backend, cwd=tmp_path)
    conftest.kcomp(*train, "-o", "run", backend=backend, cwd=tmp_path)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert (run / "oof.csv").read_bytes() == (whole / "oof.csv").read_bytes()
    logs = [pd.read_csv(folder / "log.csv")[EXACT] for folder in (run, whole)]
    pd.testing.assert_frame_equal(*logs)
    assert logs[0].rate.tolist() == pytest.approx([1e-2, 1e-2, 1e-2, 5e-3, 5e-3])
    ours, theirs = (dict(np.load(folder / "state/epoch.npz")) for folder in (run, whole))
    averages = [name for name in theirs if name.startswith("average/")]
    assert len(averages) == 1 + 2 * 5 + 2 and all((ours[name] == theirs[name]).all() for name in averages)
    assert int(theirs["average/00000/count"]) == (28 if average == "ema" else 3)
    result, log = json.loads((whole / "result.json").read_text()), logs[1]
    told, score = result["average"], result["scores"]["log_loss"]
    assert (
        told["method"] == average.upper()
        and f"the {told['method']} is {'kept' if told['accepted'] else 'refused'}" in done
    )
    best = log.log_loss[4 if average == "ema" else slice(2, 5)].min()
    assert told["best_score"] == pytest.approx(best) and (told["score"] < best) == told["accepted"]
    assert score == pytest.approx(told["score"] if told["accepted"] else log.log_loss[4], abs=1e-6)


@pytest.mark.parametrize("backend", conftest.backends())
def test_the_tail_of_rates_is_the_papers(backend):
    """Izmailov et al. 2018, section 3.2, for cycles of 3 updates between 0.3 and 0.1; and a constant tail."""
    found = conftest.in_backend(
        backend,
        """
import keras
from kcomp import schedules
cyclic = schedules.Tail(schedules.WarmupCosine(0.8, 2), 2, 0.3, low=0.1, every=1.5, steps_per_epoch=2)
again = schedules.Tail.from_config(cyclic.get_config())
rates = lambda schedule: [float(schedule(step)) for step in range(12)]
message = ""
try: schedules.Tail(schedules.Constant(0.1), 4, 0.3, low=0.1)
except ValueError as error: message = str(error)
give(cyclic=rates(cyclic), again=rates(again), constant=rates(schedules.Tail(schedules.Constant(0.8), 2, 0.3, steps_per_epoch=2)), message=message)
""",
    )
    share = [((i - 1) % 3 + 1) / 3 for i in range(1, 9)]
    falling = [0.4 * (1 + np.cos(np.pi * t / 4)) for t in range(4)]
    np.testing.assert_allclose(found["cyclic"], [*falling, *[(1 - s) * 0.3 + s * 0.1 for s in share]], rtol=1e-5)
    assert found["again"] == found["cyclic"] and "set both low and every" in found["message"]
    np.testing.assert_allclose(found["constant"], [0.8] * 4 + [0.3] * 8, rtol=1e-6)


def test_what_cannot_be_meant():
    from kcomp.averaging import EMA, SWA
    from kcomp.recipe import Stage

    for wrong, message in (
        (lambda: EMA(1.0), "between 0 and 1"),
        (lambda: SWA(0), "are at least 1"),
        (lambda: Stage("s", 3, "head", None, None, average="ema"), "average must be .*SWA.*; received .ema."),
        (lambda: Stage("s", 3, "head", None, None, average=SWA(2, every=2)), "at least two of the stage's 3 epochs"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
    assert [epoch for epoch in range(1, 9) if SWA(3, every=2).takes(epoch)] == [3, 5, 7]
