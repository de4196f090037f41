"""Trainings that are killed, or whose writes fail, end as one without faults. The slow tests try every write."""

import json
import random
import shutil

import conftest
import faults
import numpy as np
import pandas as pd
import pytest

LEFT_OUT = {  # a part of the state, and a kind of recipe that has it
    "optimizer/": "ema",
    "noise": "ema",
    "average/": "ema",
    "metrics/": "ema",
    "callbacks": "ema",
    "batches": "ema",
    "plateau_scale": "ema",
    "moving_mean": "snapshots",
    "step_counter": "scaled",
}


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    """A function that returns the trainings of a backend and a kind of recipe."""
    made = {}

    def of(backend, kind="ema"):
        if (backend, kind) not in made:
            folder = tmp_path_factory.mktemp(f"{backend}-{kind}")
            made[backend, kind] = faults.Trainings(folder, backend, kind)
        return made[backend, kind]

    yield of
    for each in made.values():
        shutil.rmtree(each.folder, ignore_errors=True)


def inside_epoch(of):
    """Return the number of a moment after the first save of the state inside the second to last epoch."""
    saves = of.moments_of("after the move to whole/state/epoch.npz")
    return saves[-4]


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_a_killed_training_ends_like_one_without_faults(trainings, backend):
    of = trainings(backend)
    between_moves = of.moments_of("before the move to whole/state/epoch.npz")[-2]
    assert of.kill_at(between_moves) == []


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_a_damaged_state_is_named_and_loses_nothing(trainings, backend):
    of = trainings(backend)
    run = of.killed_at(inside_epoch(of))
    state = of.folder / run / "state" / "epoch.npz"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    assert of.finish(run) == []
    printed = (of.folder / f"{run}.out").read_text()
    assert f"{run}/state/epoch.npz is damaged: its content does not fit its checksum; the run continues" in printed


@pytest.mark.parametrize("backend", conftest.one_slow("jax"))
def test_a_full_disk_is_named_and_loses_nothing(trainings, backend):
    of = trainings(backend)
    code, text, differences = of.fail_at(of.calls.index("the move to whole/state/before.npz") + 1, "ENOSPC")
    assert code == 1 and "Traceback" not in text and "No space left on device" in text.splitlines()[-1]
    assert differences == []


@pytest.mark.slow
@pytest.mark.parametrize("left_out", LEFT_OUT)
@pytest.mark.parametrize("backend", conftest.backends())
def test_the_comparison_fails_if_a_part_of_the_state_is_left_out(trainings, backend, left_out):
    of = trainings(backend, LEFT_OUT[left_out])
    assert of.kill_at(inside_epoch(of), left_out) != []


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("torch", "jax"), ("jax", "torch")])
def test_the_other_backend_continues_inside_an_epoch(trainings, first, second):
    of = trainings(first)
    run = of.killed_at(inside_epoch(of))
    code, text = of.train(run, backend=second)
    assert code == 0 and f"continues on {second} what {first} trained, at epoch 5" in text, text
    history = json.loads((of.folder / run / "manifest.json").read_text())["history"]
    assert [(part["backend"], part["epoch"]) for part in history] == [(first, 1), (second, 5)]
    logs = [pd.read_csv(of.folder / name / "log.csv") for name in (run, "whole")]
    exact = [name for name in logs[0] if name not in faults.SKIPPED]
    pd.testing.assert_frame_equal(logs[0][exact][:4], logs[1][exact][:4])
    np.testing.assert_allclose(logs[0]["rate"][:5], logs[1]["rate"][:5], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("backend", conftest.backends())
def test_kills_at_each_write(trainings, backend, kind):
    of = trainings(backend, kind)
    lost = {of.moments[at - 1]: of.kill_at(at) for at in range(1, len(of.moments) + 1)}
    assert {moment: names for moment, names in lost.items() if names} == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("backend", conftest.backends())
def test_kills_at_random_times(trainings, backend, kind):
    of = trainings(backend, kind)
    lost = {seconds: of.kill_after(seconds) for seconds in of.random_seconds(17, random.Random(0))}
    assert {seconds: names for seconds, names in lost.items() if names} == {}


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("backend", conftest.backends())
def test_writes_that_fail(trainings, backend, error):
    of = trainings(backend)
    for at in range(1, len(of.calls) + 1, 5):
        code, text, differences = of.fail_at(at, error)
        assert code in (0, 1) and "Traceback" not in text and differences == [], (at, text)
