"""MixUp and CutMix: mix each image with another image of the batch, and mix the labels in the same way."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.augment.planned import check_beta, check_share, check_soft, float_images, inside_box, plan_for
from kcomp.data.plans import MixPlan, Shape, active, area, beta, boxes_around, partners, plan_of


class MixUp(keras.layers.Layer):
    """Blend each image with the image of another sample of the batch, and blend the labels in the same way.

    With j as the other sample of sample i, the result is w * x_i + (1 - w) * x_j for images and labels. The number w is
    drawn from Beta(alpha, alpha) for each sample (Zhang et al. 2018, mixup: beyond empirical risk minimization,
    equation 1).

    Args:
        alpha: Parameter of the Beta distribution, from 0 up. 1 draws w uniformly. 0 turns mixing off.
        probability: Probability that a sample is mixed, 0 to 1.
        stop_epoch: First epoch without mixing, counted from 0 from the start of training. None mixes in all epochs.

    Raises:
        ValueError: If `alpha` or `probability` is out of range.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> batch = {"images": np.zeros((2, 4, 4, 3), "float32"), "labels": np.eye(2, dtype="float32")}
        >>> tuple(augment.MixUp(1.0)(batch, seed=1)["images"].shape)
        (2, 4, 4, 3)
    """

    def __init__(self, alpha: float = 0.2, *, probability: float = 1.0, stop_epoch: int | None = None) -> None:
        super().__init__(dtype="float32")  # pixels and labels keep their precision under any mixed precision policy
        self.alpha, self.probability, self.stop_epoch = check_beta(alpha), check_share(probability), stop_epoch

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> MixPlan:
        """Return the random choices (the plan) for a batch of `shape` (N, height, width). See `MixPlan`."""
        mixed = active(draws, shape[0], probability=self.probability, stop_epoch=self.stop_epoch, epoch=epoch)
        weight = np.where(mixed, beta(draws, self.alpha, shape[0]), 1.0).astype(np.float32)
        return plan_of(partners(draws, shape[0]), blend=weight, weight=weight)

    def call(self, batch: dict[str, Any], plan: MixPlan | None = None, seed: int | None = None) -> dict[str, Any]:
        return mix(batch, plan_for(self, batch, plan, seed))


class CutMix(keras.layers.Layer):
    """Paste a box of another sample's image into each image, and mix the labels by area.

    The number w is drawn from Beta(alpha, alpha) for each sample. The box has the area (1 - w) * height * width and a
    uniformly drawn centre, and is clipped at the border of the image. If sample i gets a box from sample j, and the
    clipped box covers a share a of the image, the label is (1 - a) * y_i + a * y_j (Yun et al. 2019, CutMix,
    algorithm 1).

    Args:
        alpha: Parameter of the Beta distribution, from 0 up. 1 draws w uniformly, as in the paper. 0 turns mixing off.
        probability: Probability that a sample is mixed, 0 to 1.
        stop_epoch: First epoch without mixing, counted from 0 from the start of training. None mixes in all epochs.

    Raises:
        ValueError: If `alpha` or `probability` is out of range.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> batch = {"images": np.zeros((2, 4, 4, 3), "float32"), "labels": np.eye(2, dtype="float32")}
        >>> tuple(augment.CutMix(1.0)(batch, seed=1)["images"].shape)
        (2, 4, 4, 3)
    """

    def __init__(self, alpha: float = 1.0, *, probability: float = 1.0, stop_epoch: int | None = None) -> None:
        super().__init__(dtype="float32")
        self.alpha, self.probability, self.stop_epoch = check_beta(alpha), check_share(probability), stop_epoch

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> MixPlan:
        """Return the random choices (the plan) for a batch of `shape` (N, height, width). See `MixPlan`."""
        count, height, width = shape
        mixed = active(draws, count, probability=self.probability, stop_epoch=self.stop_epoch, epoch=epoch)
        own_share = np.where(mixed, beta(draws, self.alpha, count), 1.0)
        side = np.sqrt(1.0 - own_share)
        box = boxes_around(draws, shape, (height * side).astype(np.int32), (width * side).astype(np.int32))
        weight = (1.0 - area(box) / (height * width)).astype(np.float32)
        return plan_of(partners(draws, count), box=box, weight=weight)

    def call(self, batch: dict[str, Any], plan: MixPlan | None = None, seed: int | None = None) -> dict[str, Any]:
        return mix(batch, plan_for(self, batch, plan, seed))


class Switch(keras.layers.Layer):
    """Apply one of two layers (MixUp or CutMix) to each sample. The layer is chosen at random for each sample.

    Args:
        first_layer: A MixUp or CutMix layer.
        second_layer: A MixUp or CutMix layer.
        first: Probability that the first layer is chosen, 0 to 1.

    Raises:
        ValueError: If `first` is out of range.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> layer = augment.Switch(augment.MixUp(0.2), augment.CutMix(1.0), first=0.5)
        >>> batch = {"images": np.zeros((2, 4, 4, 3), "float32"), "labels": np.eye(2, dtype="float32")}
        >>> tuple(layer(batch, seed=1)["images"].shape)
        (2, 4, 4, 3)
    """

    def __init__(self, first_layer: "MixUp | CutMix", second_layer: "MixUp | CutMix", *, first: float = 0.5) -> None:
        super().__init__(dtype="float32")
        self.first_layer, self.second_layer, self.first = first_layer, second_layer, check_share(first)
        self.built = True  # only `draw` of the two layers is used, so Keras need not build them

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> MixPlan:
        """Return the random choices (the plan) for a batch of `shape` (N, height, width). See `MixPlan`."""
        use_first = draws.random(shape[0]) < self.first
        first, second = self.first_layer.draw(draws, shape, epoch), self.second_layer.draw(draws, shape, epoch)
        return MixPlan(
            np.where(use_first, first.partner, second.partner),
            np.where(use_first, first.blend, second.blend),
            np.where(use_first[:, None], first.box, second.box),
            np.where(use_first, first.weight, second.weight),
        )

    def call(self, batch: dict[str, Any], plan: MixPlan | None = None, seed: int | None = None) -> dict[str, Any]:
        return mix(batch, plan_for(self, batch, plan, seed))


def mix(batch: dict[str, Any], plan: MixPlan) -> dict[str, Any]:
    """Apply a plan to a batch with `images` (N, H, W, C) and `labels` (N, columns), and return the new batch.

    A label that is NaN makes the mixed label NaN, unless its weight in the mix is 0.
    """
    images, labels = float_images(batch), batch["labels"]
    check_soft(labels)
    partner = ops.cast(plan.partner, "int32")
    others = ops.take(images, partner, axis=0)
    blend = ops.cast(plan.blend, images.dtype)[:, None, None, None]
    images = ops.where(inside_box(plan.box, images.shape), others, images * blend + others * (1 - blend))
    weight, partners_labels = ops.cast(plan.weight, labels.dtype)[:, None], ops.take(labels, partner, axis=0)
    own = ops.where(weight > 0, labels * weight, 0.0)  # 0 * NaN would be NaN
    return {**batch, "images": images, "labels": own + ops.where(weight < 1, partners_labels * (1 - weight), 0.0)}
