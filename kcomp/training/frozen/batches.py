"""Batches of a cached stage: the frozen part's features in the place of images, in the order of the images' batches."""

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
    """The batches of `source` with features for images: their order and labels, and plans drawn for the features' size.

    In epoch e the features are those of draw first + (e - first) % views, as `source.image(row, draw)` shows the image;
    outside training always those of draw 0.
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
        """Features of the row at position `row`, float32 of shape `self.shape`."""
        return self.features.get(row, self.draw_of(epoch) if self.training else 0)

    def draw_of(self, epoch: int) -> int:
        return self.first + (epoch - self.first) % self.views


def mixing_layers(stage: Stage, batches: Batches) -> tuple[Any, ...]:
    """The batch layers that a stage applies in its step: a cached one mixes features or nothing.

    ValueError where the stage is cached and a layer draws for itself on images: it would silently not run.
    """
    if stage.cache_views is None:
        return batches.layers
    foreign = [type(layer).__name__ for layer in batches.layers if not hasattr(layer, "draw")]
    if foreign:
        raise ValueError(
            f"stage {stage.name!r}: cache_views leaves no images for layers that draw for themselves; "
            f"leave out {foreign} or cache_views"
        )
    # erasing paints a colour, which features do not have
    mixing = [layer for layer in batches.layers if not isinstance(layer, augment.RandomErasing)]
    return tuple(mixing) if stage.mix_features else ()


class Cache:
    """The features of a run's training and held-out rows under one frozen part."""

    def __init__(self, frozen: keras.Model, training: Batches, validation: Batches, fingerprint: str) -> None:
        self.frozen, self.training, self.validation = frozen, training, validation
        shape = frozen.output_shape[1:]
        self.trained = Features(training, shape, features_key(frozen, training, fingerprint))
        self.held_out = Features(validation, shape, features_key(frozen, validation, fingerprint))

    def fill(self, numbers: Sequence[int]) -> int:
        """Compute what is missing: these draws of the training rows, the plain view of the held-out ones."""
        forward, count = compile_forward(self.frozen), self.training.batch_size
        return self.trained.fill(forward, numbers, count) + self.held_out.fill(forward, [0], count)

    def line(self, stage: Stage, computed: int, seconds: float) -> str:
        """What there is to say about the features once they are there."""
        failures = [features.failure for features in (self.trained, self.held_out) if features.failure]
        where = f"kept in memory only, not in {self.trained.folder} ({failures[0]})" if failures else "kept"
        return f"stage {stage.name!r}: {computed} features computed in {seconds:.1f} s, {where}"

    def batches(self, stage: Stage, first: int) -> tuple[FeatureBatches, FeatureBatches]:
        """Batches to train and to score a stage whose first epoch has the number `first` over all stages."""
        layers = mixing_layers(stage, self.training)
        views = stage.cache_views or 1
        return (
            FeatureBatches(self.training, self.trained, first=first, views=views, layers=layers),
            FeatureBatches(self.validation, self.held_out),
        )
