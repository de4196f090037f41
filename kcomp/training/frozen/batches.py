"""Batches that contain features in place of images. Features are the cached outputs of frozen layers."""

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
    """Batches with the rows, order and labels of `source`, but with cached features in place of images.

    Epoch e uses the augmentation of epoch first + (e - first) % views. Held-out images are not augmented.

    Args:
        source: The batches of images.
        features: The cache.
        first: The first epoch that uses the features, counted from 0 over the whole training.
        views: How many augmentations of each image have cached features.
        layers: Layers such as MixUp, which are applied to batches of features.
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

    def image(self, row: int, epoch: int = 0, copy_number: int = 0) -> np.ndarray:
        """Return the features of the image in a table row as augmented in `epoch`, float32 of shape `self.shape`.

        All copies of a row in an epoch have the same features.
        """
        return self.features.get(row, self.draw_of(epoch) if self.training else 0)

    def draw_of(self, epoch: int) -> int:
        return self.first + (epoch - self.first) % self.views


def mixing_layers(stage: Stage, batches: Batches) -> tuple[Any, ...]:
    """Return the batch layers, such as MixUp, that the training step of a stage (part of a training) applies.

    If the stage trains on cached features, only layers that can mix features are returned, and only with
    `stage.mix_features`.

    Raises:
        ValueError: If the stage trains on cached features, and a layer would have to augment images.
    """
    if stage.cache_views is None:
        return batches.layers
    unplanned = [type(layer).__name__ for layer in batches.layers if not hasattr(layer, "draw")]
    if unplanned:
        raise ValueError(
            f"stage {stage.name!r}: cache_views leaves no images for layers that draw for themselves; "
            f"leave out {unplanned} or cache_views"
        )
    # random erasing fills a box with a colour, and features have no colours
    mixing = [layer for layer in batches.layers if not isinstance(layer, augment.RandomErasing)]
    return tuple(mixing) if stage.mix_features else ()


class Cache:
    """Computes and caches the features (outputs of frozen layers) of a run's training rows and held-out rows.

    Args:
        frozen: Network from images to features.
        training: Batches of the training images.
        validation: Batches of the held-out images.
        fingerprint: A hash of the recipe.
        held_out_frozen: The same layers for the size of the held-out images. None if `frozen` has this size.
    """

    def __init__(
        self,
        frozen: keras.Model,
        training: Batches,
        validation: Batches,
        fingerprint: str,
        held_out_frozen: keras.Model | None = None,
    ) -> None:
        self.frozen, self.held_out_frozen = frozen, held_out_frozen or frozen
        self.training, self.validation = training, validation
        self.trained = Features(training, frozen.output_shape[1:], features_key(frozen, training, fingerprint))
        held_out_key = features_key(self.held_out_frozen, validation, fingerprint)
        self.held_out = Features(validation, self.held_out_frozen.output_shape[1:], held_out_key)

    def fill(self, numbers: Sequence[int]) -> int:
        """Compute and cache the missing features of all images as augmented in some epochs.

        Args:
            numbers: Epochs, from 0. Held-out images are not augmented.

        Returns:
            The number of computed features: one for each missing pair of image and epoch.
        """
        forward, count = compile_forward(self.frozen), self.training.batch_size
        is_same = self.held_out_frozen is self.frozen
        held_out_forward = forward if is_same else compile_forward(self.held_out_frozen)
        return self.trained.fill(forward, numbers, count) + self.held_out.fill(held_out_forward, [0], count)

    def line(self, stage: Stage, computed: int, seconds: float) -> str:
        """Return a line that says how many features `fill` computed, how long it took, and where they are."""
        failures = [features.failure for features in (self.trained, self.held_out) if features.failure]
        where = f"kept in memory only, not in {self.trained.folder} ({failures[0]})" if failures else "kept"
        return f"stage {stage.name!r}: {computed} features computed in {seconds:.1f} s, {where}"

    def batches(self, stage: Stage, first: int) -> tuple[FeatureBatches, FeatureBatches]:
        """Return two things: batches of features for training, and batches of features of the held-out rows.

        Args:
            stage: The stage (part of a training) that uses the features.
            first: The first epoch of the stage, counted from 0 over the whole training.
        """
        layers = mixing_layers(stage, self.training)
        views = stage.cache_views or 1
        return (
            FeatureBatches(self.training, self.trained, first=first, views=views, layers=layers),
            FeatureBatches(self.validation, self.held_out),
        )
