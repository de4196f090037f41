"""kcomp: train networks for image competitions in Keras 3, with one recipe for JAX and PyTorch."""

from typing import TYPE_CHECKING

from kcomp.system.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, MODULES)
