"""Show where trained networks fail, and why: heat maps, and the page of `kcomp explain`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kcomp.explain.colors import overlay
    from kcomp.explain.heat import heat_map, heat_maps

__all__ = ["heat_map", "heat_maps", "overlay"]

MODULES = {
    "heat_map": "kcomp.explain.heat",
    "heat_maps": "kcomp.explain.heat",
    "overlay": "kcomp.explain.colors",
}


def __getattr__(name: str) -> Any:
    """Import a function when it is used for the first time, because heat maps import Keras."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
