"""The first tokens of a vision transformer: embedded patches, their positions, and tokens such as the class token."""

from typing import Any

import numpy as np
from keras import layers, ops


class EmbedTokens(layers.Layer):
    """Turn a map of embedded patches into tokens, add the positions, and put other tokens in front.

    Args:
        first_tokens: How many tokens are put in front, such as 1 for a class token.
        has_positions: Whether patches have learned positions.
        **options: Arguments of a Keras layer, such as its name.
    """

    def __init__(self, first_tokens: int, *, has_positions: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.first_tokens, self.has_positions = first_tokens, has_positions

    def build(self, shape: Any) -> None:
        _, rows, columns, channels = shape
        self.count, self.channels = rows * columns, channels
        if self.first_tokens:
            self.tokens = self.add_weight((1, self.first_tokens, channels), "zeros", name="tokens")
        if self.has_positions:
            self.positions = self.add_weight((1, self.count, channels), "zeros", name="positions")

    def call(self, patches: Any) -> Any:
        """Return tokens (batch, count, channels) of embedded patches (batch, rows, columns, channels)."""
        x = ops.reshape(patches, (-1, self.count, self.channels))
        if self.has_positions:
            x = x + self.positions
        if not self.first_tokens:
            return x
        first = ops.broadcast_to(self.tokens, (ops.shape(x)[0], self.first_tokens, self.channels))
        return ops.concatenate([ops.cast(first, x.dtype), x], axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "first_tokens": self.first_tokens, "has_positions": self.has_positions}


def resize_positions(
    positions: np.ndarray, old: tuple[int, int], new: tuple[int, int], *, antialias: bool
) -> np.ndarray:
    """Return positions (1, patches, channels) for another number of rows and columns of patches, by cubic resizing.

    Args:
        positions: Learned positions of rows * columns patches.
        old: Rows and columns of the patches.
        new: Rows and columns of the result.
        antialias: Whether a smaller result is an average of all old positions.
    """
    if old == new:
        return positions
    grid = positions.reshape(1, *old, -1).astype(np.float32)
    resized = ops.image.resize(grid, new, interpolation="bicubic", antialias=antialias, data_format="channels_last")
    return ops.convert_to_numpy(resized).reshape(1, new[0] * new[1], -1)
