"""The head of CORAL, whose outputs share their weights."""

from typing import Any

import keras
from keras import layers, ops


class SharedWeights(layers.Layer):
    """A dense layer with one weight for each feature, which all outputs share, and a bias for each output.

    Output k of features x is w . x + b_k, so the outputs have the same order for every image. If the biases descend,
    the outputs descend too (Cao et al. 2020, Rank consistent ordinal regression for neural networks, section 3.2).

    Args:
        outputs: Number of outputs, from 1.
        **options: Arguments of a Keras layer, such as its name.
    """

    def __init__(self, outputs: int, **options: Any) -> None:
        super().__init__(**options)
        self.outputs = outputs

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight((shape[-1], 1), keras.initializers.Zeros(), name="kernel")
        self.bias = self.add_weight((self.outputs,), keras.initializers.Zeros(), name="bias")

    def call(self, features: Any) -> Any:
        """Return the outputs (batch, outputs) of features (batch, features)."""
        return ops.matmul(features, self.kernel) + self.bias

    def compute_output_shape(self, shape: Any) -> tuple[int | None, int]:
        return shape[0], self.outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "outputs": self.outputs}
