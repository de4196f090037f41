"""Replace methods of Keras's classes by the faster ones of kcomp.fast.patches, once for each process.

Other Keras models of the process run faster too. On JAX, functions that are already compiled do not change.
"""

import contextlib
import functools
import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from kcomp.fast.expectations import find_difference
from kcomp.fast.patches import PATCHES, Patch
from kcomp.system.fast_switch import fast_paths_are_on

_installed: list[str] = []  # names of the patches that now replace methods of Keras's classes
_undo = contextlib.ExitStack()
_turned_off: set[str] = set()  # names of patches that may not run; scripts/ablate_fast.py adds names
_blocked: list[bool] = [False]  # whether all patches are off; each `patched` block appends its own entry


def install() -> None:
    """Install the patches of the current backend once, unless the environment variable KCOMP_FAST is 0."""
    if _installed or _blocked[-1] or not fast_paths_are_on():
        return
    for patch in PATCHES:
        if patch.calls is not None and is_enabled(patch.name):
            for replaced_class, accelerated in patch.calls().items():
                _replace_call(replaced_class, accelerated)
            _installed.append(patch.name)


def installed_names() -> list[str]:
    """Return the names of the patches that now replace methods of Keras's classes."""
    return list(_installed)


@contextlib.contextmanager
def patched(on: bool) -> Iterator[None]:
    """Turn all patches on or off inside a `with` block, and restore the previous state at its end.

    On JAX, the block must surround the first call of a compiled function. On PyTorch, it must surround every call. Only
    one thread may use such blocks at a time.
    """
    before = bool(_installed)
    _blocked.append(not on)
    try:
        _switch(on)
        yield
    finally:
        _blocked.pop()
        _switch(before)


def is_enabled(name: str) -> bool:
    """Return whether a patch is turned on and suits the backend, the device and the installed Keras."""
    return not _blocked[-1] and fast_paths_are_on() and name not in _turned_off and _suits(name)


def _switch(on: bool) -> None:
    if on:
        install()
    else:
        _undo.close()
        _installed.clear()


@functools.cache
def _suits(name: str) -> bool:
    """Return whether a patch suits the backend, the device and the installed Keras.

    Warn once if Keras lacks something that the patch uses.
    """
    patch = next(patch for patch in PATCHES if patch.name == name)
    backend = keras.backend.backend()
    if patch.backend not in (backend, "any"):
        return False
    if backend == "jax" and patch.device == "cpu" and importlib.import_module("jax").default_backend() != "cpu":
        return False
    difference = next(filter(None, map(find_difference, patch.expects)), None)
    if difference is not None:
        warnings.warn(_left_out(patch, difference), RuntimeWarning, stacklevel=2)
    return difference is None


def _left_out(patch: Patch, difference: str) -> str:
    return (
        f"kcomp does not use the fast path {patch.name!r}: it was tested with Keras {patch.tested}, and in Keras "
        f"{keras.__version__} {difference}. Results stay the same"
    )


def _replace_call(replaced_class: Any, accelerated: Callable[..., Any]) -> None:
    """Replace the `call` of a class by `accelerated`. If `accelerated` returns None, the original `call` runs."""
    original = replaced_class.call
    if "call" in vars(replaced_class):
        _undo.callback(setattr, replaced_class, "call", original)
    else:  # inherited
        _undo.callback(delattr, replaced_class, "call")

    @functools.wraps(original)  # Keras reads the signature to choose the arguments to pass
    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        outputs = accelerated(self, *arguments, **keywords)
        return original(self, *arguments, **keywords) if outputs is None else outputs

    replaced_class.call = call
