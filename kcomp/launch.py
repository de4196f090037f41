"""Backends and processes: a process has one backend for its life, so other backends run in processes of their own."""

import ctypes
import difflib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BACKENDS = ("jax", "torch")


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


def prepare(backend: str) -> None:
    """Set what has to be set before Keras and its backend are imported."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks PyPI for its newest version on import
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "jax":
        from platformdirs import user_cache_dir

        cache = Path(os.environ.get("KCOMP_CACHE") or user_cache_dir("kcomp")) / "jax"
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let the C library keep what XLA frees after a step instead of fetching it from the system again, page by page.

    It must run before XLA starts its threads, and does nothing where the C library is not glibc.
    """
    # A step of EfficientNetB0 at 128 pixels frees 600 MB: getting them back took 0.45 s of a step's 1.2 s.
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        one_arena, mapped_blocks, trim_threshold = -8, -4, -1  # of glibc's malloc.h
        for option, value in ((one_arena, 1), (mapped_blocks, 0), (trim_threshold, -1)):
            library.mallopt(option, value)


def kcomp(arguments: Sequence[str], backend: str) -> int:
    """Run `kcomp ARGUMENTS` in a process with that backend, and return its exit code."""
    command = [sys.executable, "-m", "kcomp.cli", *arguments]
    return subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, check=False).returncode
