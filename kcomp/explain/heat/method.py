"""Choose how to explain a network: by class activation maps, or by attention rollout for transformers."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from kcomp.explain.heat.attention import Rollout, attention_layers
from kcomp.explain.heat.flat import FlatNetwork, layers_in
from kcomp.explain.heat.grad_cam import CamName, GradCam
from kcomp.models.trainable import nearest

Method = GradCam | Rollout
SHIFTING = (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)
Size = tuple[int | None, ...]  # rows and columns, None for an unknown number


def choose_method(
    network: FlatNetwork, outputs: Callable[[Any], Any], *, layer: str | None = None, cam: CamName = "hires-cam"
) -> Method:
    """Return the method that explains a network: attention rollout, or a class activation map.

    Attention rollout is chosen if attention layers follow the last feature map, or if there is no feature map.

    Args:
        network: The layer calls of the network.
        outputs: Function from logits to the numbers that are explained, (batch, columns).
        layer: Path of the layer whose feature map is used for a class activation map. None for the result of
            `best_map`.
        cam: Name of the class activation map.

    Raises:
        ValueError: If the layer does not exist or returns no feature map, or the network has neither a feature map nor
            attention layers.
    """
    channels_last, needed = is_channels_last(network), network.needed_tensors()
    maps = feature_maps(network, needed, channels_last=channels_last)
    attention = attention_layers(network, needed)
    last = max((max(network.calls[number].outputs) for number in attention), default=0)
    after = {tensor: size for tensor, size in maps.items() if tensor > last}
    if layer is not None or after:
        tensor = best_map(network, after, needed) if layer is None else map_of_layer(network, layer, needed)
        return GradCam(cam, network, tensor, channels_last, outputs)
    if attention:
        layers = {id(layer): layer for number in sorted(attention) for layer in attention[number]}
        before = min(min(network.calls[number].outputs) for number in attention)
        sizes = tuple(size for tensor, size in maps.items() if tensor < before)
        return Rollout(network, tuple(layers.values()), sizes)
    raise ValueError(
        "a heat map needs a feature map (batch, rows, columns, channels) after a layer with weights, or attention "
        f"layers of Keras; received a network of {', '.join(kinds_of_layers(network))}"
    )


def best_map(network: FlatNetwork, maps: Mapping[int, Size], needed: set[int]) -> int:
    """Return the tensor number of the feature map to explain: the last one before the last downsampling.

    Args:
        network: The layer calls of the network.
        maps: The (rows, columns) of each feature map by its tensor number, in order.
        needed: The numbers of the tensors that the output depends on.
    """
    passed = [tensor for tensor in network.bottlenecks(needed) if tensor in maps] or [max(maps)]
    finer = [tensor for tensor in passed if is_finer(maps[tensor], maps[passed[-1]])]
    return (finer or passed)[-1]


def is_finer(size: Size, other: Size) -> bool:
    """Return whether a feature map has at least 1.5 times as many rows or columns as the other one."""
    return any(side is not None and side >= 1.5 * (base or side) for side, base in zip(size, other, strict=True))


def feature_maps(network: FlatNetwork, needed: set[int], *, channels_last: bool) -> dict[int, Size]:
    """Return the (rows, columns) of each feature map of a network by its tensor number, in order.

    A feature map has four dimensions and more than one position. It comes after the first layer with weights. Maps
    outside of `needed`, and padded or cropped maps, are left out.
    """
    maps: dict[int, Size] = {}
    has_weights = False
    for step in network.calls:
        weighted = any(layer.weights for layer in layers_in(step))
        has_weights |= weighted and not isinstance(step.operation, keras.layers.Normalization)
        for tensor in step.outputs:
            shape = network.shapes[tensor]
            size = (shape[1:3] if channels_last else shape[2:4]) if len(shape) == 4 else (1, 1)
            if has_weights and tensor in needed and size != (1, 1) and not isinstance(step.operation, SHIFTING):
                maps[tensor] = size
    return maps


def map_of_layer(network: FlatNetwork, layer: str, needed: set[int]) -> int:
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
    formats = (getattr(layer, "data_format", None) for step in network.calls for layer in layers_in(step))
    return next(filter(None, formats), keras.config.image_data_format()) == "channels_last"


def kinds_of_layers(network: FlatNetwork) -> list[str]:
    operations = [step.operation for step in network.calls if isinstance(step.operation, keras.Operation)]
    return list(dict.fromkeys(type(operation).__name__ for operation in operations))[:5]
