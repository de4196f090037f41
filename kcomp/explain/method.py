"""Choose how to explain a network: Grad-CAM for feature maps, attention rollout for transformers."""

from collections.abc import Callable
from typing import Any

import keras

from kcomp.explain.attention import Rollout, attention_layers
from kcomp.explain.flat import FlatNetwork, layers_in
from kcomp.explain.grad_cam import GradCam
from kcomp.models.trainable import nearest

Method = GradCam | Rollout


def choose_method(network: FlatNetwork, outputs: Callable[[Any], Any], layer: str | None) -> Method:
    """Return the method that explains a network.

    It is Grad-CAM on the last feature map. If attention layers follow that map, or if there is none, it is attention
    rollout.

    outputs: function from logits to the numbers that are explained, (batch, columns).
    layer:   path of the layer whose feature map is used for Grad-CAM. None chooses.

    Raises:
        ValueError: If the layer does not exist or returns no feature map, or the network has neither a feature map nor
            attention layers.
    """
    channels_last, needed = is_channels_last(network), network.above_result()
    maps = feature_maps(network, needed, channels_last=channels_last)
    if layer is not None:
        return GradCam(network, map_of_layer(network, layer, needed), channels_last, outputs)
    attention = attention_layers(network, needed)
    last = max((max(network.calls[number].outputs) for number in attention), default=0)
    if maps and max(maps) > last:
        return GradCam(network, max(maps), channels_last, outputs)
    if attention:
        layers = {id(layer): layer for number in sorted(attention) for layer in attention[number]}
        before = min(min(network.calls[number].outputs) for number in attention)
        sizes = tuple(size for tensor, size in maps.items() if tensor < before)
        return Rollout(network, tuple(layers.values()), sizes)
    raise ValueError(
        "a heat map needs a feature map (batch, rows, columns, channels) after a layer with weights, or attention "
        f"layers of Keras; received a network of {', '.join(kinds_of_layers(network))}"
    )


def feature_maps(
    network: FlatNetwork, needed: set[int], *, channels_last: bool
) -> dict[int, tuple[int | None, int | None]]:
    """Return {number of a tensor: its (rows, columns)} for the feature maps of a network, in order.

    A feature map has four dimensions and more than one place, and comes after the first layer with weights. Tensors
    that are not in `needed` are left out.
    """
    maps, has_weights = {}, False
    for step in network.calls:
        weighted = any(layer.weights for layer in layers_in(step))
        has_weights |= weighted and not isinstance(step.operation, keras.layers.Normalization)
        for tensor in step.outputs:
            shape = network.shapes[tensor]
            size = (shape[1:3] if channels_last else shape[2:4]) if len(shape) == 4 else (1, 1)
            if has_weights and tensor in needed and size != (1, 1):
                maps[tensor] = size
    return maps


def map_of_layer(network: FlatNetwork, layer: str, needed: set[int]) -> int:
    """Return the number of the feature map of the layer with this path. Raise ValueError if there is none."""
    tensors = [tensor for tensor, path in enumerate(network.paths) if path == layer]
    paths = sorted({path for path, shape in zip(network.paths, network.shapes, strict=True) if len(shape) == 4} - {""})
    if not tensors:
        raise ValueError(f"layer={layer!r}: the network has no such layer; {nearest([layer], paths or ['none'])}")
    shape = network.shapes[tensors[-1]]
    if len(shape) != 4:
        raise ValueError(
            f"layer={layer!r}: a heat map needs a layer that returns a feature map of four dimensions; this one "
            f"returns {shape}"
        )
    if tensors[-1] not in needed:
        raise ValueError(f"layer={layer!r}: the network's output does not depend on this layer")
    return tensors[-1]


def is_channels_last(network: FlatNetwork) -> bool:
    """Return whether images and feature maps are (batch, rows, columns, channels), by the network's first layer with a
    data format. Without such a layer, Keras's setting decides."""
    formats = (getattr(layer, "data_format", None) for step in network.calls for layer in layers_in(step))
    return next(filter(None, formats), keras.config.image_data_format()) == "channels_last"


def kinds_of_layers(network: FlatNetwork) -> list[str]:
    """Return the names of the classes of a network's layers, at most five."""
    operations = [step.operation for step in network.calls if isinstance(step.operation, keras.Operation)]
    return list(dict.fromkeys(type(operation).__name__ for operation in operations))[:5]
