"""Start child processes that run kcomp, and describe how they ended."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kcomp.system.die_with_parent import die_with_parent

KCOMP = (sys.executable, "-m", "kcomp.cli")
THREADS = ("OMP_NUM_THREADS", "NPROC")  # read by PyTorch, NumPy and scikit-learn; read by XLA


def run_kcomp(arguments: Sequence[str], backend: str) -> int:
    """Run `kcomp ARGUMENTS` on this backend in a child process. Wait until it ends, and return its exit code."""
    # the child is in another session: ctrl-C reaches only this process, which prints a message and ends the child
    command = die_with_parent([*KCOMP, *arguments])
    return subprocess.run(command, env=child_environment(backend), check=False, start_new_session=True).returncode


def child_environment(
    backend: str | None = None, *, threads: int | None = None, device: str | None = None
) -> dict[str, str]:
    """Return the environment variables of a child process: those of this process, with some changes.

    Args:
        backend: The child's backend. None keeps the backend of this process.
        threads: How many threads the child uses, unless the variables are already set. None does not set the number.
        device: The GPU that the child uses, a value of CUDA_VISIBLE_DEVICES. None keeps the GPUs of this process.
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
    """Return the reason why a process failed: its last line of output, or the signal that ended it.

    Args:
        code: The exit code, not 0.
        output: The last line of output.
    """
    if code >= 0:
        return output
    return f"ended by signal {-code}" + (" (perhaps for want of memory)" if code == -9 else "")


def start_kcomp(
    arguments: Sequence[str], environ: Mapping[str, str], output: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start `kcomp ARGUMENTS` in a child process that ends with this process. Return the child without waiting.

    Args:
        arguments: The arguments.
        environ: The environment variables of the child.
        output: The file for everything that the child prints. None prints it in the terminal.
    """
    command = die_with_parent([*KCOMP, *arguments])
    if output is None:
        return subprocess.Popen(command, env=environ, start_new_session=True)  # as in run_kcomp
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        return subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT)
