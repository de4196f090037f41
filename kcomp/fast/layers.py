"""Read the properties of a Keras layer that kcomp's faster layers need, such as padding and weights."""

import math
from typing import Any

import keras


def covers_convolution(layer: Any) -> bool:
    """Return whether kcomp's faster convolutions support a layer: a channels_last Conv2D or DepthwiseConv2D without
    dilation.
    """
    return (
        type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
        and layer.data_format == "channels_last"
        and tuple(layer.dilation_rate) == (1, 1)
        and (
            layer.depth_multiplier == 1
            if hasattr(layer, "depth_multiplier")
            else layer.groups == 1 or is_depthwise(layer)
        )
    )


def is_depthwise(layer: Any) -> bool:
    """Return whether a convolution has exactly one filter for each input channel."""
    grouped = type(layer) is keras.layers.Conv2D and layer.groups == layer.filters > 1 and layer.kernel.shape[2] == 1
    return type(layer) is keras.layers.DepthwiseConv2D or grouped


def padding_of(layer: Any, images: Any) -> tuple[Any, ...]:
    """Return the zeros that a layer adds around images (N, H, W, C), in pixels: ((top, bottom), (left, right))."""

    def along(size: int, window: int, stride: int) -> tuple[int, int]:
        missing = max((math.ceil(size / stride) - 1) * stride + window - size, 0) if layer.padding == "same" else 0
        return missing // 2, missing - missing // 2

    return tuple(map(along, images.shape[1:3], layer.kernel_size, layer.strides))


def value_of(weight: Any) -> Any:
    return weight.value if isinstance(weight, keras.Variable) else weight  # faster than Keras's own conversion


def as_type(value: Any, dtype: str) -> Any:
    if value is None or keras.backend.standardize_dtype(value.dtype) == dtype:
        return value  # Keras's cast would take longer to return the same tensor
    return keras.ops.cast(value, dtype)
