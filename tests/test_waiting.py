"""Waiting for images and for cores: what is measured, and what is printed."""

import os
import subprocess
import sys

import conftest
import pytest

from kcomp.system import wait_policy


@pytest.mark.parametrize(
    "busy, environment, policy",
    [(1.9, {}, None), (2.0, {}, "passive"), (9.0, {"OMP_WAIT_POLICY": "active"}, "active")],
)
@pytest.mark.skipif(not wait_policy.PROCESSOR_TIMES.is_file(), reason="only Linux is measured")
def test_threads_sleep_where_the_cores_are_busy(monkeypatch, busy, environment, policy):
    monkeypatch.setattr(wait_policy, "count_busy_cores", lambda: busy)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(wait_policy, "_lines", [])
    monkeypatch.setattr(os, "environ", dict(environment))
    wait_policy.set_wait_policy()
    assert os.environ.get("OMP_WAIT_POLICY") == policy
    lines = wait_policy.wait_policy_lines()
    assert len(lines) == (policy == "passive") and all("use 2.0 of 4 cores" in line for line in lines)


def test_busy_cores_are_counted(monkeypatch, tmp_path):
    """A second each of user, nice, system and both kinds of interrupts; not of idle, waiting and stolen time."""
    ticks = os.sysconf("SC_CLK_TCK")
    times = tmp_path / "stat"
    monkeypatch.setattr(wait_policy, "PROCESSOR_TIMES", times)
    times.write_text(f"cpu  {ticks} {ticks} {ticks} 900 900 {ticks} {ticks} 900 0 0\ncpu0 1 1 1 1 1 1 1\n")
    assert wait_policy.busy_seconds() == 5.0


@pytest.mark.skipif(not wait_policy.PROCESSOR_TIMES.is_file(), reason="only Linux is measured")
def test_a_program_that_spins_is_counted():
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=-1) as spinner:
        assert spinner.stdout.readline()
        counted = max(wait_policy.count_busy_cores() for _ in range(3))
        spinner.kill()
    assert 0.5 < counted < (os.cpu_count() or 1) + 0.5


WAITING = """
import io, time
import numpy as np
from rich.console import Console
from kcomp import data
from kcomp.training.data_wait import DataWait, describe_wait

table = data.sklearn_digits().rows(np.arange(32))
batches = data.Batches(table, 8, batch_size=8, images=data.Images(8, cache_bytes=0))
text = io.StringIO()
wait = DataWait(Console(file=text), batches)

def slow():
    for index in range(4):
        time.sleep(0.2)
        yield index

for index in wait.watch(slow()):
    time.sleep(0.05)  # the step
    wait.on_train_batch_end(index)
wait.on_epoch_end(0)
wait.on_epoch_end(1)
give(text=text.getvalue(), little=describe_wait(0.04, batches))
"""


def test_the_share_of_an_epoch_that_waits():
    """Three steps after the first, each of 0.05 s and 0.2 s of waiting: four fifths."""
    given = conftest.in_backend(conftest.backends()[0].values[0], WAITING)
    share = int(given["text"].split("%")[0])
    assert 70 <= share <= 85 and given["text"].count("%") == 1
    assert "cache_bytes" in given["text"] and "reduced=True" in given["text"] and "transforms" not in given["text"]
    assert given["little"] == "4% of the first epoch waited for images"
