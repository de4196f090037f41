"""Keras callbacks of several calls of `fit` that together train one stage, the first of them from inside an epoch."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops


class EpochCallbacks(keras.callbacks.CallbackList):
    """The callbacks of a stage (part of a training), which see one training with the true numbers of batches.

    Keras's `fit` cannot start inside an epoch. A stage that continues there calls `fit` for the rest of the epoch, and
    then for the other epochs. Pass this object to both calls as `callbacks`.

    Args:
        callbacks: The callbacks, in the order in which Keras calls them.
        model: The compiled model.
        epochs: The number of the last epoch, from 1.
        steps: How many batches an epoch has.
    """

    def __init__(
        self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, *, epochs: int, steps: int
    ) -> None:
        super().__init__(list(callbacks), add_history=True, model=model, epochs=epochs, steps=steps)
        self.skipped, self.has_begun = 0, False
        self.weights: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.has_begun:
            super().on_train_begin(logs)
        self.has_begun = True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch + self.skipped, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch + self.skipped, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self.skipped:
            self.weights = [ops.copy(weight.value) for weight in self.model.trainable_weights]

    def on_train_end(self, logs: Any = None) -> None:
        """Do nothing, because `fit` may be called again. `end` calls the callbacks."""

    def end(self) -> None:
        super().on_train_end()

    def parts(self, first: int, count: int, skipped: int) -> Iterator[tuple[int, int, int]]:
        """Yield the arguments of each call of `fit`: the number of its first epoch, how many epochs, batches to skip.

        Args:
            first: The number of the first epoch to train, from 0.
            count: How many epochs to train.
            skipped: How many batches of the first epoch are trained already.
        """
        self.skipped = skipped
        if skipped:
            yield first, 1, skipped
            first, count, self.skipped = first + 1, count - 1, 0
            if count:  # at its end, `fit` replaced the weights by their averages if the optimizer has use_ema
                for weight, value in zip(self.model.trainable_weights, self.weights, strict=True):
                    weight.assign(value)
        if count:
            yield first, count, 0
