"""Batches of a cached stage. They contain features, the outputs of the frozen layers, in place of images."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kcomp import augment
from kcomp.data.batches import Batches
from kcomp.prediction.forward import compile_forward
from kcomp.recipe import Stage
from kcomp.training.frozen.features import Features
from kcomp.training.frozen.keys import features_key


class FeatureBatches(Batches):
    """Batches of `source` with features in place of images.

    Order and labels are those of `source`. Mixing uses the size of the features.

    Each training image has cached features for `views` epochs of augmentation. Epoch e uses those of epoch
    first + (e - first) % views. Batches that are not for training always use epoch 0.
    """

    def __init__(
        self, source: Batches, features: Features, *, first: int = 0, views: int = 1, layers: Sequence[Any] = ()
    ) -> None:
        super().__init__(
            source.table,
            source.image_size,
            batch_size=source.batch_size,
            training=source.training,
            seed=source.seed,
            layers=layers,
        )
        self.source, self.features, self.first, self.views = source, features, first, views
        self.shape, self.workers = features.shape, source.workers

    def order(self, epoch: int) -> np.ndarray:
        return self.source.order(epoch)

    def image(self, row: int, epoch: int = 0) -> np.ndarray:
        """Return the features of the row at position `row`, float32 of shape `self.shape`."""
        return self.features.get(row, self.draw_of(epoch) if self.training else 0)

    def draw_of(self, epoch: int) -> int:
        return self.first + (epoch - self.first) % self.views


def mixing_layers(stage: Stage, batches: Batches) -> tuple[Any, ...]:
    """Return the batch layers (such as MixUp) that a stage applies in its training step.

    A cached stage applies those that can mix features.

    Raises:
        ValueError: If the stage is cached and a layer augments images at random, because the layer would never run.
    """
    if stage.cache_views is None:
        return batches.layers
    unplanned = [type(layer).__name__ for layer in batches.layers if not hasattr(layer, "draw")]
    if unplanned:
        raise ValueError(
            f"stage {stage.name!r}: cache_views leaves no images for layers that draw for themselves; "
            f"leave out {unplanned} or cache_views"
        )
    # erasing paints a colour, which features do not have
    mixing = [layer for layer in batches.layers if not isinstance(layer, augment.RandomErasing)]
    return tuple(mixing) if stage.mix_features else ()


class Cache:
    """The features of a run's training and held-out rows for one frozen network."""

    def __init__(self, frozen: keras.Model, training: Batches, validation: Batches, fingerprint: str) -> None:
        self.frozen, self.training, self.validation = frozen, training, validation
        shape = frozen.output_shape[1:]
        self.trained = Features(training, shape, features_key(frozen, training, fingerprint))
        self.held_out = Features(validation, shape, features_key(frozen, validation, fingerprint))

    def fill(self, numbers: Sequence[int]) -> int:
        """Compute missing features, and return their number.

        Args:
            numbers: Epochs whose augmentation of the training rows is used. Held-out rows are not augmented.
        """
        forward, count = compile_forward(self.frozen), self.training.batch_size
        return self.trained.fill(forward, numbers, count) + self.held_out.fill(forward, [0], count)

    def line(self, stage: Stage, computed: int, seconds: float) -> str:
        """Return the line to print after `fill`."""
        failures = [features.failure for features in (self.trained, self.held_out) if features.failure]
        where = f"kept in memory only, not in {self.trained.folder} ({failures[0]})" if failures else "kept"
        return f"stage {stage.name!r}: {computed} features computed in {seconds:.1f} s, {where}"

    def batches(self, stage: Stage, first: int) -> tuple[FeatureBatches, FeatureBatches]:
        """Return two sets of batches, to train a stage and to score it.

        first: number of the stage's first epoch, counted over all stages.
        """
        layers = mixing_layers(stage, self.training)
        views = stage.cache_views or 1
        return (
            FeatureBatches(self.training, self.trained, first=first, views=views, layers=layers),
            FeatureBatches(self.validation, self.held_out),
        )
