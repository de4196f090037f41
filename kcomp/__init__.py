"""kcomp: train networks for image competitions in Keras 3, with one recipe for JAX and PyTorch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kcomp.notebook.ensemble import ensemble
    from kcomp.notebook.functions import predict, train
    from kcomp.runs.folder import Run

__version__ = "0.2.0"
__all__ = ["Run", "ensemble", "predict", "train"]

MODULES = {
    "Run": "kcomp.runs.folder",
    "ensemble": "kcomp.notebook.ensemble",
    "predict": "kcomp.notebook.functions",
    "train": "kcomp.notebook.functions",
}


def __getattr__(name: str) -> Any:
    """Import a function or class when it is used for the first time, so that `import kcomp` is quick."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
