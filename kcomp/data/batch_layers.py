"""Layers that change whole batches: check their order, and apply Keras layers on the host."""

from collections.abc import Sequence
from typing import Any

from kcomp.data.global_seeds import LOCK


def check_layer_order(layers: Sequence[Any]) -> None:
    """Raise ValueError if a layer of `kcomp.augment` comes before another kind of layer."""
    planned = [hasattr(layer, "draw") for layer in layers]
    if planned != sorted(planned):
        raise ValueError(
            "layers of kcomp.augment must come after all other layers, which are applied before the training step; "
            f"received {[type(layer).__name__ for layer in layers]}"
        )


def apply_on_host(layer: Any, batch: dict[str, Any], seed: int) -> dict[str, Any]:
    """Apply a Keras layer to a batch outside of the training step. `seed` determines its random numbers."""
    from kcomp.data.foreign_layers import call_seeded

    with LOCK:  # the call sets global seeds, so only one thread may call a layer at a time
        return call_seeded(layer, batch, seed)
