"""Backends and processes: a process has one backend for its life, so other backends run in processes of their own."""

import difflib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

from kcomp.cache import cache_folder

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
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "jax"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def kcomp(arguments: Sequence[str], backend: str) -> int:
    """Run `kcomp ARGUMENTS` in a process with that backend, and return its exit code."""
    command = [sys.executable, "-m", "kcomp.cli", *arguments]
    return subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, check=False).returncode
