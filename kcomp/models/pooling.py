"""Reduce feature maps and tokens to one vector for each image."""

from typing import Any

import keras
from keras import layers, ops

POOLS = ("average", "maximum", "both", "gem", "token")


class GeneralizedMean(layers.Layer):
    """Pool a feature map by the generalized mean (GeM), with one exponent for all channels, which is learned.

    The result is mean(x ** p) ** (1 / p) over the positions of a channel. Values below `smallest` count as `smallest`.
    The average has p = 1, and the maximum is reached as p grows (Radenović et al. 2018, Fine-tuning CNN image retrieval
    with no human annotation, equation 3).

    Args:
        exponent: The first value of p, from 1 up. The paper begins with 3.
        smallest: The least value of a feature, above 0.
        **options: Arguments of a Keras layer, such as its name.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(self, exponent: float = 3.0, *, smallest: float = 1e-6, **options: Any) -> None:
        super().__init__(**options)
        if exponent < 1 or smallest <= 0:
            raise ValueError(f"need exponent >= 1 and smallest > 0; received {exponent} and {smallest}")
        self.exponent, self.smallest = exponent, smallest

    def build(self, shape: Any) -> None:
        self.p = self.add_weight((), keras.initializers.Constant(self.exponent), "float32", name="exponent")

    def call(self, features: Any) -> Any:
        """Return the pooled features (batch, channels) of features (batch, ..., channels)."""
        axes = tuple(range(1, len(features.shape) - 1))
        p = ops.maximum(ops.cast(self.p, "float32"), 1.0)
        values = ops.maximum(ops.cast(features, "float32"), self.smallest)
        largest = ops.max(values, axes, keepdims=True)  # the ratio lies in 0..1, so that its power cannot overflow
        mean = ops.mean(ops.power(values / largest, p), axes)
        return ops.cast(ops.power(mean, 1 / p) * ops.reshape(largest, ops.shape(mean)), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "exponent": self.exponent, "smallest": self.smallest}


def pool_features(features: Any, kind: str, first_tokens: int) -> list[Any]:
    """Return the pooled tensors (batch, channels) of a feature map or of tokens: two for "both", else one.

    Args:
        features: A feature map (batch, height, width, channels), or tokens (batch, tokens, channels).
        kind: One of POOLS.
        first_tokens: How many tokens at the front belong to no part of the image, such as the class token. They are
            left out, except by "token", which takes the first of them.

    Raises:
        ValueError: If `kind` is unknown, or "token" and there is none.
    """
    if kind not in POOLS or (kind == "token" and not first_tokens):
        having = [each for each in POOLS if each != "token" or first_tokens]
        raise ValueError(f"this backbone can be pooled by {', '.join(having)}; received {kind!r}")
    if kind == "token":
        return [features[:, 0]]
    if 0 < first_tokens < features.shape[1]:
        features = features[:, first_tokens:]
    dimensions = len(features.shape) - 2
    average = getattr(layers, f"GlobalAveragePooling{dimensions}D")
    maximum = getattr(layers, f"GlobalMaxPooling{dimensions}D")
    if kind == "gem":
        return [GeneralizedMean(name="head_pool")(features)]
    if kind == "both":
        return [average(name="head_pool")(features), maximum(name="head_pool_maximum")(features)]
    return [(maximum if kind == "maximum" else average)(name="head_pool")(features)]
