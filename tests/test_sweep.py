"""Sweeps: what is asked for, by hand; who runs beside whom; and that a sweep killed anywhere ends as one left alone."""

import contextlib
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import conftest
import pandas as pd
import pytest
from test_training import TINY, write

from kcomp.recipe import Loaded, Recipe
from kcomp.runs.folder import Run
from kcomp.runs.locking import locked
from kcomp.sweep import board, jobs, machine, pool
from kcomp.sweep.machine import Share
from kcomp.sweep.progress import COMPLETE, FAILED, SweepProgress
from kcomp.sweep.variants import value_lists, variants
from kcomp.system.errors import BUSY
from kcomp.system.files import write_json
from kcomp.system.locks import try_lock
from kcomp.system.processes import child_environment

INSTALLED = [parameter.values[0] for parameter in conftest.backends() if not parameter.marks[0].args[0]]


@dataclass(frozen=True)
class Config:
    size: int = 160
    name: str = "b0"
    sizes: tuple[int, ...] = (1, 2)
    mean: tuple[float, ...] | None = None
    dropout: float | None = 0.2
    flip: bool = False


def recipe_with(sweep=None):
    nothing = lambda *_: None  # noqa: E731
    return Loaded(Recipe(Config(), table=nothing, batches=nothing, model=nothing, stages=nothing, sweep=sweep), "r", {})


def test_commas_stand_between_values_but_belong_to_tuples():
    given = [
        "size=160,224",
        "name=b0,b1\\,b2",
        "sizes=1,2",
        "sizes=3,4",
        "mean=none",
        "dropout=none,0.5",
        "size=160,288",
    ]
    assert value_lists(Config(), given) == {
        "size": ["160", "224", "288"],
        "name": ["b0", "b1,b2"],
        "sizes": ["1,2", "3,4"],
        "mean": ["none"],
        "dropout": ["none", "0.5"],
    }
    with pytest.raises(ValueError, match=r"did you mean 'size'"):
        value_lists(Config(), ["sizze=1"])
    with pytest.raises(ValueError, match=r"--set takes name=value,value,...; received 'size'"):
        value_lists(Config(), ["size"])


def test_values_are_multiplied_and_checked():
    assert variants(recipe_with(), []) == [{}]
    assert variants(recipe_with(), ["size=1,2", "flip=true,false"]) == [
        {"size": "1", "flip": "true"}, {"size": "1", "flip": "false"},
        {"size": "2", "flip": "true"}, {"size": "2", "flip": "false"},
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"size must be int; received 'x'"):
        variants(recipe_with(), ["size=1,x"])


def test_the_recipes_own_sweep_is_taken_where_no_list_is_given():
    own = recipe_with(lambda: [{"size": 1, "sizes": (3, 4)}, {"dropout": None, "flip": True}, {"size": 2}])
    assert variants(own, []) == [{"size": "1", "sizes": "3,4"}, {"dropout": "none", "flip": "true"}, {"size": "2"}]
    assert variants(own, ["size=9"])[0] == {"size": "9", "sizes": "3,4"}
    assert variants(own, ["size=8,9"]) == [{"size": "8"}, {"size": "9"}]
    for wrong in (list, lambda: {"size": 1}, lambda: [3]):
        with pytest.raises(ValueError, match=r"sweep\(\) must return a list of dicts of values"):
            variants(recipe_with(wrong), [])
    with pytest.raises(ValueError, match=r"did you mean 'size'"):
        variants(recipe_with(lambda: [{"sizze": 1}]), [])
    with pytest.raises(ValueError, match=r"size must be int; received 'large'"):
        variants(recipe_with(lambda: [{"size": "large"}]), [])


PLANNED = """
from kcomp.sweep.plan import SweepOptions, plan
import sys
found, sources = plan(SweepOptions(sys.argv[1], tuple(sys.argv[2].split(",")), (7, 3), "all", ("rate=1e-3,0.001,0.01",), "R"))
give(jobs=[job.as_json() for job in found], sources=list(sources), keras="keras" in sys.modules)
"""


def test_a_plan_names_the_folders_that_training_uses_and_each_once(tmp_path):
    """2 values, said in 3 ways, of 2 seeds, 4 folds and each backend; the process that asks imports no Keras."""
    path = write(tmp_path)
    (tmp_path / "beside.py").write_text("x = 1")
    path.write_text("import beside\n" + TINY)
    found = conftest.in_backend("", PLANNED, path, ",".join(INSTALLED))
    assert found["sources"] == ["tiny.py", "beside.py"] and not found["keras"]
    given = [(job["values"]["rate"], job["seed"], job["fold"], job["backend"]) for job in found["jobs"]]
    assert given == [
        (rate, seed, fold, backend)
        for rate in ("1e-3", "0.01") for seed in (7, 3) for fold in range(4) for backend in INSTALLED
    ]  # fmt: skip
    first = found["jobs"][0]
    assert first["folder"] == f"R/tiny/{first['fingerprint']}/{INSTALLED[0]}-seed7-fold0"
    assert len({job["folder"] for job in found["jobs"]}) == 16 * len(INSTALLED)


@pytest.mark.parametrize(
    ("said", "given", "wanted"), [(None, [], None), ("torch", [], "torch"), ("torch", ["--backends", "jax"], "jax")]
)
def test_the_environment_names_the_backend_where_the_command_line_does_not(said, given, wanted, monkeypatch):
    from kcomp.commands.sweep import sweep

    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if said:
        monkeypatch.setenv("KERAS_BACKEND", said)
    assert sweep.make_context("sweep", ["tiny.py", *given]).params["backends"] == wanted


def test_a_backend_in_the_environment_that_is_none_is_refused(tmp_path):
    done = conftest.kcomp("sweep", "tiny.py", backend="tensorflow", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "the backend must be jax or torch; received 'tensorflow'" in done.stderr


def test_the_machine_is_shared_out(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 16)
    monkeypatch.setattr(machine, "memory", lambda: 24 * 2**30)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert machine.share(12) == Share(12, 1)  # 24 GiB: 12 jobs
    assert machine.share(40) == Share(12, 1)
    assert machine.share(5) == Share(5, 3)
    assert machine.share(12, 2) == Share(2, 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-a, 5")
    assert machine.share(12) == Share(3, 5, ("3", "GPU-a", "5"))
    assert machine.share(12, 2) == Share(2, 8, ("3", "GPU-a"))
    with pytest.raises(ValueError, match="3 can be seen; 4 are to run side by side"):
        machine.share(12, 4)


def test_an_environment_keeps_what_was_set(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NPROC", raising=False)
    found = child_environment("jax", threads=3, device="5")
    assert [found[name] for name in ("KERAS_BACKEND", "OMP_NUM_THREADS", "NPROC", "CUDA_VISIBLE_DEVICES")] == [
        "jax", "7", "3", "5",
    ]  # fmt: skip


def job_at(folder, seed=0):
    return jobs.TrainingJob("r.py", "torch", seed, 0, {"size": "1"}, str(folder / f"run{seed}"), "f", "t", "log_loss")


MANIFEST = {
    "recipe": "r",
    "fingerprint": "f",
    "backend": "torch",
    "seed": 0,
    "fold": 0,
    "table": "t",
    "classes": [],
    "metric": "log_loss",
    "scores": ["log_loss"],
}
RESULT = {"scores": {"log_loss": 0.25}, "seconds": 1, "epochs": 2}
STAND_IN = """
import json, os, sys, time
folder, number = sys.argv[1], sys.argv[2]
os.makedirs(folder, exist_ok=True)
began = time.time()
print("epoch   1/2  all  rate 1e-3  loss 1.0  accuracy 0.5  log_loss 0.7500", flush=True)
time.sleep(0.7)
json.dump([began, time.time(), os.environ.get("CUDA_VISIBLE_DEVICES")], open(folder + "/times", "w"))
if number == "1":
    sys.exit("kcomp: no such layer")
json.dump(RESULT, open(folder + "/result.json", "w"))
""".replace("RESULT", repr(RESULT))


def stand_in(job):
    return [sys.executable, "-c", STAND_IN, job.folder, str(job.seed)]


def test_a_score_that_is_no_number_is_shown(tmp_path, capsys):
    from rich.console import Console

    from kcomp.report.table import print_table
    from kcomp.runs.table import run_rows

    progress = SweepProgress(job_at(tmp_path))
    progress.start()
    progress.line("epoch   1/2  all  rate 1e-3  loss 1.0  log_loss nan  9 images/s")
    assert math.isnan(progress.score)
    write_json(progress.job.run / "result.json", RESULT | {"scores": {"log_loss": math.nan, "accuracy": 0.5}})
    assert '"log_loss": null' in (progress.job.run / "result.json").read_text()
    progress.finish(0)
    console = Console(width=200, record=True)
    shown = board.Board(console, [progress])
    console.print(shown.table())
    (progress.job.run / "manifest.json").write_text(json.dumps(MANIFEST))
    print_table(Console(), run_rows([progress.job.run]))
    assert "log_loss nan" in shown.line(progress) and "log_loss nan" in console.export_text()
    assert capsys.readouterr().out.count(" nan ") == 2  # the board's and the one of `kcomp runs`


def test_a_job_that_the_system_ended_says_so(tmp_path):
    progress = SweepProgress(job_at(tmp_path))
    progress.start()
    progress.line("epoch   1/2  all  rate 1e-3  loss 1.0  log_loss 0.5  9 images/s")
    progress.finish(-9)
    assert progress.state == FAILED and progress.last == "ended by signal 9 (perhaps for want of memory)"


def test_a_damaged_run_is_failed_and_stops_no_other(tmp_path):
    damaged, other = job_at(tmp_path), job_at(tmp_path, 2)
    write_json(damaged.run / "manifest.json", MANIFEST)
    (damaged.run / "result.json").write_text("")
    progress = [SweepProgress(damaged), SweepProgress(other)]
    pool.run(progress, Share(1, 1), lambda: None, stand_in)
    assert [job.state for job in progress] == [FAILED, COMPLETE]
    assert (
        "result.json is damaged" in progress[0].last and "remove it, and train the run to its end" in progress[0].last
    )


def test_so_many_run_side_by_side_each_on_its_device_and_a_failure_stops_nothing(tmp_path):
    progress = [SweepProgress(job_at(tmp_path, seed)) for seed in range(5)]
    seen = []
    pool.run(progress, Share(2, 1, ("4", "6")), lambda: seen.append([job.epoch for job in progress]), stand_in)
    assert [job.state for job in progress] == [COMPLETE, FAILED, COMPLETE, COMPLETE, COMPLETE]
    assert progress[1].last == "kcomp: no such layer" and "no such layer" in progress[1].job.log.read_text()
    assert progress[0].score == 0.25 and [1, 1, 0, 0, 0] in seen
    times = [json.loads((tmp_path / f"run{seed}" / "times").read_text()) for seed in range(5)]
    for began, _, device in times:
        beside = [other for other in times if other[0] <= began < other[1]]
        assert len(beside) <= 2 and len({other[2] for other in beside}) == len(beside) and device in ("4", "6")
    assert any(len([1 for other in times if other[0] <= began < other[1]]) == 2 for began, _, _ in times)
    pool.run(progress[:1], Share(1, 1), lambda: None, lambda job: [])  # complete: nothing is started


def test_a_run_that_another_process_trains_is_waited_for(tmp_path):
    one, two = (SweepProgress(job_at(tmp_path, seed)) for seed in (0, 2))
    one.job.run.folder.mkdir()
    states = []
    with try_lock(one.job.run / "lock") as lock:

        def show():
            states.append(one.state)
            if two.state == COMPLETE and not lock.closed:
                lock.close()

        pool.run([one, two], Share(1, 1), show, stand_in)
    assert states[0] == "elsewhere" and one.state == two.state == COMPLETE
    times = [json.loads((progress.job.run / "times").read_text()) for progress in (one, two)]
    assert times[0][0] > times[1][1]  # in the place of waiting, the second was trained


def test_a_run_that_is_taken_just_before_is_not_failed(tmp_path):
    progress = SweepProgress(job_at(tmp_path))
    progress.start()
    progress.finish(BUSY)
    assert progress.state == "elsewhere"
    progress.start()
    progress.finish(1)
    assert progress.state == FAILED


def test_a_run_that_another_process_trains_has_its_own_exit_code(tmp_path):
    write(tmp_path)
    with locked(Run(tmp_path / "run")):
        arguments = ("train", "tiny.py", "-o", "run")
        done = conftest.kcomp(*arguments, backend=INSTALLED[-1], cwd=tmp_path, check=False)
    assert done.returncode == BUSY and "another process is training" in done.stderr


def test_lines_tell_how_far_a_job_is(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = SweepProgress(replace(job_at(tmp_path), metric="roc_auc"))
    progress.start()
    line = "epoch  {}/10  upper blocks   rate 1.0e-03  loss 1.2  accuracy 0.5  log_loss 0.75  macro_f1 0.4  roc_auc 0.{}  9 images/s"
    progress.line(line.format(" 3", 81))
    assert (progress.epoch, progress.epochs, progress.score, progress.seconds_left) == (3, 10, 0.81, None)
    clock[0] = 104.0
    progress.line(line.format(" 5", 85))
    clock[0] = 105.0
    assert progress.score == 0.85 and progress.seconds_left == 5 * 2.0 - 1.0
    assert [board.clock(seconds) for seconds in (9, 75.4, 3725)] == ["0:09", "1:15", "1:02:05"]


def test_a_terminal_shows_a_row_a_job_and_elsewhere_lines(tmp_path):
    from rich.console import Console

    progress = [SweepProgress(job_at(tmp_path, seed)) for seed in range(30)]
    console = Console(force_terminal=True, width=100, height=15, record=True)
    shown = board.Board(console, progress)
    for job in (progress[3], progress[29]):
        job.start()
        job.line("epoch   1/2  all  rate 1e-3  loss 1.0  log_loss 0.7500 ")
    console.print(shown.table())
    lines = console.export_text().splitlines()
    assert lines[0].strip() == "2 running, 28 waiting" and len(lines) < 15
    assert sum("running" in line and "1/2" in line and "0.7500" in line for line in lines[1:]) == 2
    plain = Console(width=200, record=True)
    shown = board.Board(plain, progress)
    progress[3].state = FAILED
    shown()
    shown()
    text = plain.export_text()
    assert (
        text.count("\n") == 1
        and text.startswith("0/30 torch seed 3 fold 0 size=1: failed: epoch")
        and "run3.log" in text
    )


def test_processes_end_with_the_sweep_even_by_kill_9(tmp_path):
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent ended")
    code = """
import os, sys, time
from pathlib import Path
from kcomp.sweep.process import Process
process = Process(["sleep", "100"], dict(os.environ), Path("log"))
time.sleep(1)
print(process.popen.pid, flush=True)
time.sleep(100)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=conftest.environment(""), stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    command = open(f"/proc/{child}/cmdline").read()  # noqa: SIM115, PTH123
    assert command.startswith("sleep")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def gone(process):
    deadline = time.time() + 5
    while time.time() < deadline:
        try:
            with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def environment(**changes):
    return conftest.environment("") | changes


def sweep_command(folder, *arguments):
    return [conftest.warm_python(), "-m", "kcomp.cli", "sweep", "tiny.py", "-o", folder, *map(str, arguments)]


def epochs_done(folder):
    # no rglob: while a run is trained, folders in it come and go
    return sum(len(path.read_text().splitlines()) - 1 for path in folder.glob("tiny/*/*/log.csv"))


def killed_at(epochs, arguments, cwd, number=signal.SIGKILL):
    """Start the sweep, end it once so many epochs of all its runs are recorded, and see that nothing goes on."""
    process = subprocess.Popen(
        sweep_command("disturbed", *arguments), cwd=cwd, env=environment(PAUSE="0.7"), stdout=subprocess.DEVNULL
    )
    deadline = time.time() + 300
    while epochs_done(cwd / "disturbed") < epochs:
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    process.wait()
    runs = [path.parent for path in (cwd / "disturbed").glob("tiny/*/*/lock")]
    deadline = time.time() + 10
    while any(jobs.Run(run).busy for run in runs):
        assert time.time() < deadline, "a training outlived its sweep"
        time.sleep(0.05)


EXACT = ["epoch", "stage", "rate", "loss", "train_accuracy", "log_loss", "accuracy"]


@pytest.fixture
def one_thread(monkeypatch):
    """Sweeps share out the cores; the last bit of what JAX computes depends on the number of threads."""
    monkeypatch.setenv("NPROC", "1")


def check_killed_sweep(cwd, options, kills):
    """Train the runs one by one, and in a sweep of both backends that is killed at these numbers of epochs and continued.

    The files are the same, and no complete run is trained again. Returns the paths of the runs.
    """
    write(cwd)
    for backend in INSTALLED:
        conftest.kcomp("train", "tiny.py", *options, backend=backend, cwd=cwd)
    (cwd / "runs").rename(cwd / "alone")
    arguments = ["--backends", ",".join(INSTALLED), "--jobs", 2, *options]
    finished = {}
    for epochs in kills:
        killed_at(epochs, arguments, cwd)
        finished = {path: path.stat().st_mtime_ns for path in (cwd / "disturbed").rglob("result.json")} | finished
    done = subprocess.run(
        sweep_command("disturbed", *arguments), cwd=cwd, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    alone = sorted(path.parent.relative_to(cwd / "alone") for path in (cwd / "alone").rglob("result.json"))
    for run in alone:
        ours, theirs = cwd / "disturbed" / run, cwd / "alone" / run
        logs = [pd.read_csv(folder / "log.csv")[EXACT] for folder in (ours, theirs)]
        pd.testing.assert_frame_equal(*logs)
        assert (ours / "oof.csv").read_bytes() == (theirs / "oof.csv").read_bytes()
        said = (cwd / "disturbed" / f"{run}.log").read_text()
        assert said.rstrip().splitlines()[-1].startswith(f"disturbed/{run}: ") and said.count("rows out of fold") == 1
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())
    again = subprocess.run(
        sweep_command("disturbed", *arguments), cwd=cwd, env=environment(), capture_output=True, text=True
    )
    assert again.returncode == 0 and "running" not in again.stdout and again.stdout.count("-fold") == len(alone)
    return alone


def test_a_sweep_that_is_killed_ends_as_one_left_alone(tmp_path, one_thread):
    """Both backends at once, killed when most of the eight epochs are done."""
    options = ["--set", "epochs=3"]
    assert len(check_killed_sweep(tmp_path, options, (5,))) == len(INSTALLED)


@pytest.mark.slow
def test_twelve_runs_killed_three_times(tmp_path, one_thread):
    options = ["--seed", "0,1,2", "--fold", "0,2"]
    assert len(check_killed_sweep(tmp_path, options, (6, 17, 30))) == 6 * len(INSTALLED)


def test_ctrl_c_ends_what_was_started(tmp_path):
    write(tmp_path)
    killed_at(1, ["--backends", INSTALLED[-1]], tmp_path, signal.SIGINT)


def test_what_fails_is_named_with_its_log(tmp_path):
    """A misspelt layer in one of two variants: the other is trained; exit code 1; and again, only the missing one."""
    write(tmp_path)
    arguments = [
        "sweep",
        "tiny.py",
        "--backends",
        INSTALLED[-1],
        "--set",
        "epochs=1",
        "--set",
        "trainable=.*,blok0_conv",
    ]
    done = conftest.kcomp(*arguments, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "1 of 2 runs failed" in done.stderr
    [failed] = [line for line in done.stdout.splitlines() if line.startswith("failed: ")]
    assert "trainable=blok0_conv" in failed and "did you mean 'block0_conv'" in failed
    log = tmp_path / failed.rpartition("(")[2].rstrip(")")
    assert "matches no layer" in log.read_text() and log.parent.parent.parent.name == "runs"
    assert done.stdout.count("-seed0-fold0\n") <= 1 and len(list(tmp_path.rglob("result.json"))) == 1
    for wrong, message, code in (
        (["--fold", "9"], "folds of this table are [0, 1, 2, 3]", 1),
        (["--set", "rat=1,2"], "did you mean 'rate'", 2),
        (["--backends", "jax,tensorflow"], "the backend must be jax or torch", 2),
        (["--ray-address", "x"], "--ray-address needs --on ray", 2),
    ):
        done = conftest.kcomp("sweep", "tiny.py", *wrong, cwd=tmp_path, check=False)
        assert done.returncode == code and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


BEGAN = {"device": "cpu", "versions": {}}
HISTORY = [{"epoch": 1, "backend": "jax", **BEGAN}, {"epoch": 2, "backend": "torch", **BEGAN}]


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"pseudo": None, "from": None}, None),
        ({"table": "other"}, "table 'other'; this one has 't'"),
        ({"fingerprint": "other"}, "fingerprint 'other'; this one has 'f'"),
        ({"pseudo": {"rows": 3, "sha256": "p"}}, "pseudo .* this one has None"),
        ({"backend": "jax"}, "backend 'jax'; this one has 'torch'"),
        ({"history": HISTORY}, "backend 'jax-torch'; this one has 'torch'"),
        ({"from": {"sha256": "0123456789"}}, "--from weights with the hash '0123456789'"),
        ({"soup": {"key": "k"}}, "holds a soup"),
    ],
)
def test_a_run_of_another_experiment_is_refused(changes, message, complete, tmp_path):
    job = job_at(tmp_path)
    job.check()
    job.run.folder.mkdir()
    (job.run / "manifest.json").write_text(json.dumps(MANIFEST | changes))
    if complete:
        (job.run / "result.json").write_text(json.dumps(RESULT))
    with pytest.raises(ValueError, match=message) if message else contextlib.nullcontext():
        job.check()
