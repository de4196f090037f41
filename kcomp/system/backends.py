"""Choose and prepare Keras's backend before Keras is imported."""

import difflib
import importlib.util
import os
import sys
from collections.abc import Sequence

from kcomp.system.cache import cache_folder
from kcomp.system.determinism import determinism_is_on, use_determinism
from kcomp.system.import_hook import WithoutPyTorch
from kcomp.system.memory import keep_freed_memory
from kcomp.system.processor import processor_key
from kcomp.system.wait_policy import set_wait_policy

BACKENDS = ("jax", "torch")


def choose_backend(requested: str | None, preferred: str | None = None) -> str:
    """Return the requested backend or, if that is None, the preferred or the first installed one.

    Raises:
        ValueError: If the requested backend is unknown.
        ModuleNotFoundError: If the requested backend is not installed, or if no backend is installed.
    """
    if requested is not None:
        if requested not in BACKENDS:
            close = difflib.get_close_matches(requested, BACKENDS, 1)
            hint = f"did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"the backend must be jax or torch; received {requested!r}. {hint}".rstrip(" ."))
        if not is_installed(requested):
            raise ModuleNotFoundError(
                f"the backend {requested} is not installed; run: pip install 'kcomp[{requested}]'"
            )
        return requested
    for backend in (preferred, *BACKENDS):
        if backend is not None and is_installed(backend):
            return backend
    raise ModuleNotFoundError("no backend is installed; run: pip install 'kcomp[torch]' or 'kcomp[jax]'")


def is_installed(backend: str) -> bool:
    """Return whether a module, such as "jax", is installed. It is not imported."""
    return importlib.util.find_spec(backend) is not None


def require_packages(modules: Sequence[str], extra: str) -> None:
    """Raise ModuleNotFoundError if one of these modules is missing.

    `extra` is the extra of kcomp that installs the modules, such as "tune" for `pip install 'kcomp[tune]'`.
    """
    missing = [module for module in modules if not is_installed(module)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ModuleNotFoundError(f"{', '.join(missing)} {verb} not installed; run: pip install 'kcomp[{extra}]'")


def prepare_backend(backend: str) -> None:
    """Select Keras's backend before Keras is imported. Set the memory allocation and environment that it needs."""
    keep_freed_memory()
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # prevents a request to PyPI when albumentations is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "jax":
        sys.meta_path.insert(0, WithoutPyTorch())
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "jax" / processor_key()))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    else:
        set_wait_policy()
    if determinism_is_on():
        use_determinism(backend)
