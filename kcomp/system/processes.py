"""Child processes that run kcomp: their environment, their start and how they ended."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kcomp.system.die_with_parent import die_with_parent

KCOMP = (sys.executable, "-m", "kcomp.cli")
THREADS = ("OMP_NUM_THREADS", "NPROC")  # read by PyTorch, NumPy and scikit-learn; by XLA on a CPU


def run_kcomp(arguments: Sequence[str], backend: str) -> int:
    """Run `kcomp ARGUMENTS` in a process with that backend, and return its exit code."""
    # a session of its own: ctrl-C reaches this process alone, which says so once and ends that one
    command = die_with_parent([*KCOMP, *arguments])
    return subprocess.run(command, env=child_environment(backend), check=False, start_new_session=True).returncode


def child_environment(
    backend: str | None = None, *, threads: int | None = None, device: str | None = None
) -> dict[str, str]:
    """The environment of a process that is started: its backend, its share of the cores (what is set already stays),
    the name of its GPU; None for this process's."""
    found = dict(os.environ)
    if backend is not None:
        found["KERAS_BACKEND"] = backend
    for name in THREADS if threads is not None else ():
        found.setdefault(name, str(threads))
    if device is not None:
        found["CUDA_VISIBLE_DEVICES"] = device
    return found


def describe_exit(code: int, said: str) -> str:
    """Why a process ended with this code, not 0: what it said last, unless a signal ended it."""
    if code >= 0:
        return said
    return f"ended by signal {-code}" + (" (perhaps for want of memory)" if code == -9 else "")


def start_kcomp(
    arguments: Sequence[str], environ: Mapping[str, str], output: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start `kcomp ARGUMENTS` in a process that ends when this one does, even by kill -9.

    output: the file for what it prints, None for the terminal.
    """
    command = die_with_parent([*KCOMP, *arguments])
    if output is None:
        return subprocess.Popen(command, env=environ, start_new_session=True)  # as above
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        return subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT)
