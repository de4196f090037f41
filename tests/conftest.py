"""What tests share: both backends run in processes of their own, for a process cannot change its backend."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def backends():
    """Both backends as parameters; one that is not installed is skipped."""
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
        )
        for name in ("jax", "torch")
    ]


def one_slow():
    """Both backends, the second of them run by name: where the first says most of it."""
    first, second = backends()
    return [first, pytest.param(*second.values, marks=[*second.marks, pytest.mark.slow])]


def environment(backend):
    threads = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
    return {**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}


def in_backend(backend, code, *arguments, cache=None):
    """Run code in a process of that backend and return what it passed to `give`, through JSON; `cache` is another
    cache folder than the user's."""
    head = "import json, sys\ndef give(**found): print('GIVEN' + json.dumps(found))\n"
    command = [sys.executable, "-c", head + textwrap.dedent(code), *map(str, arguments)]
    env = environment(backend)
    if cache is not None:
        env["KCOMP_CACHE"] = str(cache)
        env.pop("JAX_COMPILATION_CACHE_DIR", None)  # one that this process or its user has would win over the folder's
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("GIVEN"))[5:])


def kcomp(*arguments, backend=None, cwd, check=True):
    """Run the command line in `cwd`; returns the finished process with its output as text."""
    env = environment(backend or "")
    if backend is None:
        del env["KERAS_BACKEND"]
    command = [sys.executable, "-m", "kcomp.cli", *map(str, arguments)]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done


def commands(backend, calls):
    """Command lines, one after the other in one process of that backend: exit code, output and errors of each."""
    code = """
from click.testing import CliRunner
from kcomp.cli import main
done = [CliRunner().invoke(main, arguments) for arguments in json.loads(sys.argv[1])]
give(done=[[one.exit_code, one.stdout, one.stderr] for one in done])
"""
    return in_backend(backend, code, json.dumps([[str(part) for part in call] for call in calls]))["done"]


def killed_after(epochs, run, arguments, *, backend, cwd):
    """Run the command line, kill -9 it once the run folder has the state of that many epochs or more."""
    command = [sys.executable, "-m", "kcomp.cli", *map(str, arguments)]
    state, log = run / "state" / "epoch.npz", run / "log.csv"

    def reached():
        written = log.exists() and state.exists() and state.stat().st_mtime >= log.stat().st_mtime
        return written and len(log.read_text().splitlines()) > epochs

    process = subprocess.Popen(command, env=environment(backend), cwd=cwd, stdout=subprocess.DEVNULL)
    deadline = time.time() + 200
    while not reached():
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "result.json").exists()
