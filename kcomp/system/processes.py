"""Child processes that run kcomp: their environment, start and exit."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kcomp.system.die_with_parent import die_with_parent

KCOMP = (sys.executable, "-m", "kcomp.cli")
THREADS = ("OMP_NUM_THREADS", "NPROC")  # the first for PyTorch, NumPy and scikit-learn; the second for XLA on a CPU


def run_kcomp(arguments: Sequence[str], backend: str) -> int:
    """Run `kcomp ARGUMENTS` on this backend in a child process, and return its exit code."""
    # in a new session, Ctrl-C reaches only this process, which prints one message and ends the child
    command = die_with_parent([*KCOMP, *arguments])
    return subprocess.run(command, env=child_environment(backend), check=False, start_new_session=True).returncode


def child_environment(
    backend: str | None = None, *, threads: int | None = None, device: str | None = None
) -> dict[str, str]:
    """Return the environment of a child process. None keeps the values of this process.

    threads: Number of threads. Variables that are already set keep their value.
    device: The value of CUDA_VISIBLE_DEVICES.
    """
    environment = dict(os.environ)
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    for name in THREADS if threads is not None else ():
        environment.setdefault(name, str(threads))
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    return environment


def describe_exit(code: int, output: str) -> str:
    """Return why a process failed: its last line of output, or the signal that ended it.

    code: the exit code, not 0.
    """
    if code >= 0:
        return output
    return f"ended by signal {-code}" + (" (perhaps for want of memory)" if code == -9 else "")


def start_kcomp(
    arguments: Sequence[str], environ: Mapping[str, str], output: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start `kcomp ARGUMENTS` in a child process. On Linux, the child ends when this process ends, even by kill -9.

    output: File for the output of the child. None for the terminal.
    """
    command = die_with_parent([*KCOMP, *arguments])
    if output is None:
        return subprocess.Popen(command, env=environ, start_new_session=True)  # as in run_kcomp
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        return subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT)
