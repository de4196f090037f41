"""Sweeps on Ray: resources by hand, runs that are sent back, and a cluster of several nodes that loses one."""

import importlib.util
import json
import socket
import subprocess
import sys
import time

import conftest
import pandas as pd
import pytest
from test_sweep import EXACT, INSTALLED
from test_training import TINY, write

from kcomp.runs.folder import Run
from kcomp.sweep import remote
from kcomp.sweep.cluster.connection import JobResources, check_address, divide_resources
from kcomp.sweep.cluster.storage import TOKEN, storage_token
from kcomp.sweep.jobs import TrainingJob
from kcomp.sweep.progress import SweepProgress
from kcomp.sweep.remote import Order


def test_a_job_gets_what_the_nodes_have():
    node = {"CPU": 8.0, "memory": 1e9}
    assert divide_resources([node, node], 100, None) == JobResources(16, 1, 0, None)
    assert divide_resources([node, {"CPU": 4.0}], 3, None) == JobResources(3, 4, 0, None)
    assert divide_resources([node, {"CPU": 4.0}], 3, 2) == JobResources(2, 4, 0, 2)
    assert divide_resources([{**node, "GPU": 2.0}, {"CPU": 6.0, "GPU": 2.0}, node], 9, None) == JobResources(
        4, 3, 1, None
    )
    with pytest.raises(ValueError, match="no CPUs for tasks"):
        divide_resources([{"memory": 1e9}], 1, None)


def test_an_address_where_no_cluster_is_fails_at_once(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "{}:{}".format(*server.getsockname())
        check_address(address)
    with pytest.raises(ConnectionError, match=f"no Ray cluster answers at {address}"):
        check_address(address)
    for wrong in ("ray://host:10001", "host", ":6379", "host:"):
        with pytest.raises(ValueError, match="host:port"):
            check_address(wrong)
    for left_to_ray in (None, "auto"):
        check_address(left_to_ray)


def test_the_recipe_is_taken_where_it_is_the_same_and_copied_elsewhere(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "r.py").write_text("import beside")
    sources = {"r.py": "import beside", "beside.py": "x = 1"}
    job = TrainingJob(str(tmp_path / "here" / "r.py"), "torch", 0, 0, {}, "run", "f", "t", "log_loss")
    order = Order(job, sources, "token", ".", 1)
    found = remote.recipe_at(order, tmp_path / "there")
    assert found == str(tmp_path / "there" / "r.py") and (tmp_path / "there" / "beside.py").read_text() == "x = 1"
    (tmp_path / "here" / "beside.py").write_text("x = 1")
    assert remote.recipe_at(order, tmp_path) == job.recipe


def test_a_run_is_packed_and_unpacked_with_its_result_last(tmp_path, monkeypatch):
    run, other = Run(tmp_path / "run"), Run(tmp_path / "a" / "b")
    assert remote.pack(run) is None
    for name in ("manifest.json", "result.json", "state/epoch.npz", "lock", "zzz"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(f"text of {name}")
    packed, written, write_file = remote.pack(run), [], remote.write_atomically
    monkeypatch.setattr(
        remote, "write_atomically", lambda path, content: (written.append(path.name), write_file(path, content))
    )
    remote.unpack(packed, other)
    assert written == ["manifest.json", "epoch.npz", "zzz", "result.json"]
    assert (other / "state" / "epoch.npz").read_text() == "text of state/epoch.npz"


def test_where_storage_is_not_shared_a_run_is_continued_there_and_sent_back(tmp_path, monkeypatch):
    """An unfinished run, a machine without its folders and its recipe: what comes back equals an undisturbed run."""
    backend = INSTALLED[-1]
    write(tmp_path)
    conftest.kcomp("train", "tiny.py", "--seed", "5", "-o", "alone", backend=backend, cwd=tmp_path)
    training = ("train", "tiny.py", "--seed", "5", "-o", "begun")
    conftest.killed_after(2, tmp_path / "begun", training, backend=backend, cwd=tmp_path)
    begun = Run(tmp_path / "begun")
    job = TrainingJob(
        "/nowhere/tiny.py",
        backend,
        5,
        0,
        {},
        "/nowhere/run",
        begun.manifest["fingerprint"],
        "",
        "log_loss",
    )
    order = Order(job, {"tiny.py": TINY}, "/nowhere/token", "/nowhere", 2, remote.pack(begun))
    monkeypatch.setattr(remote, "scratch", lambda: tmp_path / "scratch")
    monkeypatch.setattr(remote, "KCOMP", (str(conftest.warm_python()), "-m", "kcomp.cli"))
    for name, value in conftest.environment("").items():
        monkeypatch.setenv(name, value)
    lines = []
    answer = remote.train(order, lines.append)
    assert answer.code == 0 and answer.log.splitlines() == lines and not list((tmp_path / "scratch").rglob("*.json"))
    assert next(line for line in lines if line.startswith("epoch")).startswith("epoch   3/4")
    remote.unpack(answer.packed, begun)
    logs = [pd.read_csv(tmp_path / name / "log.csv")[EXACT] for name in ("alone", "begun")]
    pd.testing.assert_frame_equal(*logs)
    assert begun.complete and begun.result["scores"] == Run(tmp_path / "alone").result["scores"]


def test_what_a_killed_sweep_left_on_shared_storage_goes_and_that_of_a_living_one_stays(tmp_path):
    progress = SweepProgress(
        TrainingJob("r.py", "torch", 0, 0, {}, str(tmp_path / "r" / "f" / "torch-0"), "f", "t", "log_loss")
    )
    (tmp_path / f"{TOKEN}killed").touch()
    with storage_token([progress]) as first, storage_token([progress]) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert not list(tmp_path.iterdir())


SENT_BACK = """
import contextlib
from pathlib import Path
from kcomp.sweep.cluster import tasks
from kcomp.cli import main
tasks.storage_token = lambda jobs: contextlib.nullcontext(Path("/nowhere/token"))
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_cluster_that_loses_a_node_ends_complete(tmp_path, monkeypatch):
    """One node, then two more; one is killed while each has a run. Then the same with storage that is not shared."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PAUSE", "4.0")  # of each epoch
    monkeypatch.setenv("PYTHONPATH", str(conftest.ROOT))
    from ray.cluster_utils import Cluster

    write(tmp_path)
    arguments = ["sweep", "tiny.py", "--backends", ",".join(INSTALLED), "--seed", "0,1"]
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    on_ray = ["--on", "ray", "--ray-address", nodes.address]
    try:
        command = [sys.executable, "-m", "kcomp.cli", *arguments, "-o", "shared", *on_ray]
        sweep = subprocess.Popen(command, cwd=tmp_path, env=environ(), stdout=subprocess.PIPE, text=True)
        assert "runs on Ray" in sweep.stdout.readline()
        lost = nodes.add_node(num_cpus=1)
        nodes.add_node(num_cpus=1)
        wait_for(lambda: training(tmp_path / "shared") >= min(3, 2 * len(INSTALLED)), sweep)
        nodes.remove_node(lost, allow_graceful=False)
        said, _ = sweep.communicate(timeout=500)
        assert sweep.returncode == 0 and "state-dump" not in said, said
        assert said.count(": running on ") > 2 * len(INSTALLED), "no run was started again"
        command = [sys.executable, "-c", SENT_BACK, *arguments, "-o", "sent", *on_ray]
        subprocess.run(command, cwd=tmp_path, env=environ(), check=True, capture_output=True)
    finally:
        nodes.shutdown()
    command = [sys.executable, "-m", "kcomp.cli", *arguments, "-o", "local"]
    subprocess.run(command, cwd=tmp_path, env=environ(), check=True, capture_output=True)
    runs = sorted(path.parent.relative_to(tmp_path / "local") for path in (tmp_path / "local").rglob("result.json"))
    assert len(runs) == 2 * len(INSTALLED)
    for run in runs:
        results = [
            json.loads((tmp_path / name / run / "result.json").read_text()) for name in ("local", "shared", "sent")
        ]
        logs = [pd.read_csv(tmp_path / name / run / "log.csv") for name in ("local", "shared", "sent")]
        for other, result in zip(logs[1:], results[1:]):
            pd.testing.assert_frame_equal(logs[0][EXACT], other[EXACT])
            assert result["epochs"] == results[0]["epochs"] == 4
        for name in ("shared", "sent"):
            assert (tmp_path / name / f"{run}.log").read_text().count("rows out of fold") == 1


def environ():
    return {name: value for name, value in conftest.environment("").items() if name != "KERAS_BACKEND"} | {
        "OMP_NUM_THREADS": "1"
    }


def training(folder):
    """Runs that have recorded an epoch and are not complete."""
    return sum(not (path.parent / "result.json").exists() for path in folder.glob("tiny/*/*/log.csv"))


def wait_for(reached, process):
    deadline = time.time() + 300
    while not reached():
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
