"""Show where trained networks fail, and why: heat maps, and the page of `kcomp explain`."""

from typing import TYPE_CHECKING

from kcomp.system.lazy import lazy_names

if TYPE_CHECKING:
    from kcomp.explain.heat.colors import overlay
    from kcomp.explain.heat.maps import heat_map, heat_maps

__all__ = ["heat_map", "heat_maps", "overlay"]

MODULES = {
    "heat_map": "kcomp.explain.heat.maps",
    "heat_maps": "kcomp.explain.heat.maps",
    "overlay": "kcomp.explain.heat.colors",
}

__getattr__, __dir__ = lazy_names(__name__, MODULES)
