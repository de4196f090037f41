"""Register tokens of a vision transformer."""

from typing import Any

import keras
from keras import ops


class RegisterTokens(keras.layers.Layer):
    """Put learned tokens, which belong to no part of the image, in front of the others (Darcet et al. 2024).

    Args:
        count: The number of tokens, from 1.
        **options: Arguments of a Keras layer, such as its name.
    """

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count

    def build(self, shape: Any) -> None:
        self.tokens = self.add_weight((1, self.count, shape[-1]), "zeros", name="reg_token")

    def call(self, tokens: Any) -> Any:
        own = ops.broadcast_to(self.tokens, (ops.shape(tokens)[0], self.count, tokens.shape[-1]))
        return ops.concatenate([ops.cast(own, tokens.dtype), tokens], axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}
