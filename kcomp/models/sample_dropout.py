"""Multi-sample dropout: several dropout masks for each image in a training step."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kcomp")
class MultiSampleDropout(layers.Dropout):
    """Repeat the features of a batch in training, and apply dropout with another mask to each repetition.

    In training, features (batch, channels) become (samples * batch, channels): the whole batch once for each sample.
    kcomp's training step repeats the labels in the same way, so the loss is the mean of the losses of all samples. In
    inference, features do not change.

    Args:
        rate: Share of dropped features, above 0 and below 1.
        samples: Number of masks, from 1.
        **options: Further arguments of `keras.layers.Dropout`, such as a name.

    References:
        Inoue 2019, Multi-sample dropout for accelerated training and better generalization.
    """

    def __init__(self, rate: float, samples: int = 1, **options: Any) -> None:
        super().__init__(rate, **options)
        self.samples = samples

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            inputs = ops.concatenate([inputs] * self.samples)
        return super().call(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "samples": self.samples}


def repeat_rows(values: Any, reference: Any) -> Any:
    """Return `values`, repeated as a whole until it has as many rows as `reference`."""
    rows, needed = values.shape[0], reference.shape[0]
    return values if rows == needed else ops.concatenate([values] * (needed // rows))
