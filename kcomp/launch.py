"""Backends and processes: a process has one backend for its life, so other backends run in processes of their own."""

import ctypes
import difflib
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kcomp.bound import bound
from kcomp.cache import cache_folder

BACKENDS = ("jax", "torch")
KCOMP = (sys.executable, "-m", "kcomp.cli")
THREADS = ("OMP_NUM_THREADS", "NPROC")  # PyTorch, NumPy and scikit-learn; XLA on a CPU
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def choose(requested: str | None) -> str:
    """The backend to run on: the one requested, else the first that is installed. ValueError or ModuleNotFoundError
    says what is allowed, or what to install."""
    if requested is not None:
        if requested not in BACKENDS:
            close = difflib.get_close_matches(requested, BACKENDS, 1)
            hint = f"did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"the backend must be jax or torch; received {requested!r}. {hint}".rstrip(" ."))
        if not installed(requested):
            raise ModuleNotFoundError(
                f"the backend {requested} is not installed; run: pip install 'kcomp[{requested}]'"
            )
        return requested
    for backend in BACKENDS:
        if installed(backend):
            return backend
    raise ModuleNotFoundError("no backend is installed; run: pip install 'kcomp[torch]' or 'kcomp[jax]'")


def installed(backend: str) -> bool:
    return importlib.util.find_spec(backend) is not None


def require(modules: Sequence[str], extra: str) -> None:
    """ModuleNotFoundError, which names the extra to install, where one of these modules is not installed."""
    missing = [module for module in modules if not installed(module)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ModuleNotFoundError(f"{', '.join(missing)} {verb} not installed; run: pip install 'kcomp[{extra}]'")


def prepare(backend: str) -> None:
    """Set what has to be set before Keras and its backend are imported."""
    keep_freed_memory()
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks PyPI for its newest version on import
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "jax":
        sys.meta_path.insert(0, WithoutPyTorch())
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "jax"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


class WithoutPyTorch:
    """Refuses albumentations' PyTorch transforms, which kcomp has no use for: they import all of torch, 3 s a start."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "albumentations.pytorch":
            raise ImportError("on JAX, kcomp takes images as NumPy arrays: albumentations.pytorch is not loaded")


def keep_freed_memory() -> None:
    """Let the C library keep the memory that is freed, where it is glibc: a step needs the same again.

    By default every array of some megabytes goes back to the system and is fetched anew, page by page: on a CPU that
    takes up to a third of a step. The process then keeps the most that it ever needed at once. It must run before the
    backend starts its threads, for each would have an arena of its own.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_ARENA_MAX, 1)  # arenas of threads are too small for large arrays and would map them
    library.mallopt(M_MMAP_MAX, 0)  # from the heap, also what is large
    library.mallopt(M_TRIM_THRESHOLD, -1)  # and never back from the heap to the system


def kcomp(arguments: Sequence[str], backend: str) -> int:
    """Run `kcomp ARGUMENTS` in a process with that backend, and return its exit code."""
    # a session of its own: ctrl-C reaches this process alone, which says so once and ends that one
    command = bound([*KCOMP, *arguments])
    return subprocess.run(command, env=environment(backend), check=False, start_new_session=True).returncode


def environment(backend: str | None = None, *, threads: int | None = None, device: str | None = None) -> dict[str, str]:
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


def end_of(code: int, said: str) -> str:
    """Why a process ended with this code, not 0: what it said last, unless a signal ended it."""
    if code >= 0:
        return said
    return f"ended by signal {-code}" + (" (perhaps for want of memory)" if code == -9 else "")


def start_bound(
    arguments: Sequence[str], environ: Mapping[str, str], output: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start `kcomp ARGUMENTS` in a process that ends when this one does, even by kill -9.

    output: the file for what it prints, None for the terminal.
    """
    command = bound([*KCOMP, *arguments])
    if output is None:
        return subprocess.Popen(command, env=environ, start_new_session=True)  # as above
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        return subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT)
