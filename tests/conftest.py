"""What tests share. A process cannot change its backend, so code and command lines run in other processes: forks of
one long-lived process a backend (fork_server.py), or with `fresh=True` a process started for them. Child processes that
kcomp starts in a fork are forks too (warm_python.py)."""

import atexit
import functools
import importlib.util
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import fork_server
import pytest
from warm_python import imported_backend

from kcomp.system.cache import cache_folder

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy is imported: the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
JAX_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": str(cache_folder() / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # tests compile many small programs
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
# Almost all programs of the tests are small: XLA would optimise them for longer than it runs them.
QUICK_COMPILATION = {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"}
# Set here, because `prepare_backend` in a test of this process would set them only for the tests after it.
for name, value in {
    **JAX_CACHE,
    **QUICK_COMPILATION,
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}.items():
    os.environ.setdefault(name, value)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job; child processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def backends():
    """Both backends as parameters; one that is not installed is skipped."""
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
        )
        for name in ("jax", "torch")
    ]


def one_slow(slow="torch"):
    """Both backends, one of them only with `-m slow`, for tests that run the same code of kcomp on both."""
    return [
        pytest.param(*each.values, marks=[*each.marks, *[pytest.mark.slow] * (each.values[0] == slow)])
        for each in backends()
    ]


def environment(backend):
    threads = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
    policy = "passive"  # else it would depend on the load of the machine
    own = {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": policy, "PYTHONPATH": str(ROOT)}
    return {**os.environ, **own}


@functools.cache
def warm_python():
    """An executable that runs kcomp's modules in forks of servers that run, and what else there is in Python."""
    if sys.platform != "linux":
        return Path(sys.executable)
    folder = Path(tempfile.mkdtemp(prefix="kcomp-", dir="/tmp"))  # a socket has a short path
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = Path(__file__).with_name("warm_python.py")
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", str(program), str(folder)])} "$@"\n')
    path.chmod(0o700)
    return path


class ForkServer:
    """The long-lived process of a backend, or of "" for one without Keras; each call runs in a fork of it."""

    def __init__(self, backend):
        self.environment = environment(backend)
        command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), backend, str(warm_python().parent)]
        # unbuffered: `select` sees no answer that a buffer has taken
        self.process = subprocess.Popen(
            command, env=self.environment, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    @classmethod
    @functools.cache
    def of(cls, backend):
        return cls(backend)

    def accepts(self, env):
        """Whether a process with this environment may be a fork."""
        return fork_server.accepts(self.environment, env)

    @classmethod
    def start_all(cls):
        """Start the servers that do not run, so that they serve child processes too."""
        for backend in ("", *(name for name in ("jax", "torch") if importlib.util.find_spec(name))):
            cls.of(backend)

    def start(self, arguments, *, code, cwd, env, outputs):
        """Start a fork and return its process id; `outputs` are the files of its standard output and error."""
        request = {
            "code": code,
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "environment": env,
            "outputs": [str(output) for output in outputs],
        }
        try:
            rest = json.dumps(request).encode() + b"\n"
            while rest:
                rest = rest[self.process.stdin.write(rest) :]
        except BrokenPipeError:
            self.stop()
            raise RuntimeError("the fork server ended") from None
        return self.answer()

    def run(self, arguments, *, code, cwd, env, seconds=600):
        """Run code, or the command line where `code` is None; returns the finished process with its output as text."""
        with tempfile.TemporaryDirectory() as folder:
            outputs = [Path(folder, name) for name in ("stdout", "stderr")]
            for path in outputs:
                path.touch()
            process = self.start(arguments, code=code, cwd=cwd, env=env, outputs=outputs)
            if not self.has_answer(seconds):
                os.kill(process, signal.SIGKILL)
                self.answer()
                raise RuntimeError(f"not finished after {seconds} s:\n" + outputs[1].read_text()[-3000:])
            texts = [path.read_text(errors="replace") for path in outputs]
            return subprocess.CompletedProcess(arguments, self.answer(), *texts)

    def has_answer(self, seconds=0.0):
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the fork server ended")
        return int(line)

    def stop(self):
        """End the process; the next call starts another."""
        self.process.kill()
        self.process.wait()
        ForkServer.of.cache_clear()


# Code that makes a fork import kcomp's loops for the CPU anew, which the server of PyTorch has imported.
FORGET_LOOPS = """
    import sys
    for name in [name for name in sys.modules if name.startswith("kcomp.fast.cpu_loops.")]:
        del sys.modules[name]
"""

HAS_CHILDREN = ("sweep", "tune", "predict", "compare")  # commands that start others


def run_process(backend, arguments, *, code=None, cwd=None, env, fresh=False):
    """Run code or the command line in a fork where its environment allows it, else in a process started for it."""
    if sys.platform == "linux" and not fresh:
        server = ForkServer.of(backend)
        if code is None and arguments and arguments[0] in HAS_CHILDREN:
            ForkServer.start_all()
        if server.accepts(env):
            return server.run(arguments, code=code, cwd=cwd or Path.cwd(), env=env)
    command = ["-m", "kcomp.cli"] if code is None else ["-c", code]
    command = [sys.executable, *command, *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)


def in_backend(backend, code, *arguments, cache=None, fresh=False):
    """Run code with that backend and return what it passes to `give`, through JSON.

    cache: a cache folder instead of the user's.
    fresh: start a process for it; needed where the code changes what is read or hidden when libraries are imported.
    """
    head = "import json, sys\ndef give(**values): print('GIVEN' + json.dumps(values))\n"
    env = environment(backend)
    if cache is not None:
        env["KCOMP_CACHE"], env["JAX_COMPILATION_CACHE_DIR"] = str(cache), str(Path(cache, "jax"))
        env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"  # of kcomp
    done = run_process(backend, arguments, code=head + textwrap.dedent(code), env=env, fresh=fresh)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-3000:]}")
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("GIVEN"))[5:])


def kcomp(*arguments, backend=None, cwd, check=True, fresh=False):
    """Run the command line in `cwd`; returns the finished process with its output as text."""
    env = environment(backend or "")
    if backend is None:
        del env["KERAS_BACKEND"]
    done = run_process(imported_backend(arguments, backend), arguments, cwd=cwd, env=env, fresh=fresh)
    if check and done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return done


def commands(backend, calls):
    """Command lines, each in a process of that backend: exit code, output and errors of each."""
    folder = Path.cwd()
    processes = [kcomp(*call, backend=backend, cwd=folder, check=False) for call in calls]
    return [[process.returncode, process.stdout, process.stderr] for process in processes]


def killed_after(epochs, run, arguments, *, backend, cwd):
    """Run the command line, kill -9 it once the run folder has the state of that many epochs or more.

    The recipe sleeps for the seconds in PAUSE after each epoch, so that the kill comes before the next one.
    """
    server, state, log = ForkServer.of(backend), run / "state" / "epoch.npz", run / "log.csv"
    env = environment(backend) | {"PAUSE": "0.5"}
    process = server.start(arguments, code=None, cwd=cwd, env=env, outputs=[os.devnull, "/dev/stderr"])

    def is_reached():
        written = log.exists() and state.exists() and state.stat().st_mtime >= log.stat().st_mtime
        return written and len(log.read_text().splitlines()) > epochs

    deadline = time.time() + 200
    while not is_reached():
        assert not server.has_answer() and time.time() < deadline
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    assert server.answer() == -signal.SIGKILL
    assert not (run / "result.json").exists()
