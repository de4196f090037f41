"""Mosaic: combine parts of four images of the batch, and mix their labels by area."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.augment.planned import check_share, check_soft, float_images, plan_for
from kcomp.data.plans import MosaicPlan, Shape, active, partners


class Mosaic(keras.layers.Layer):
    """Divide each image into four quarters of random size, and fill three of them from other images of the batch.

    The point where the quarters meet is drawn uniformly from the middle half of each side. The image itself stays in
    the top left. Each other quarter shows the same region of another image, as in CutMix. If the quarters cover the
    shares a, b, c and d of the image, the label is a * y_1 + b * y_2 + c * y_3 + d * y_4 (Bochkovskiy et al. 2020,
    YOLOv4, for boxes; here for labels of whole images).

    Args:
        probability: Probability that a sample is changed, 0 to 1.
        stop_epoch: First epoch without mixing, counted from 0 from the start of training. None mixes in all epochs.

    Raises:
        ValueError: If `probability` is out of range.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> batch = {"images": np.zeros((4, 8, 8, 3), "float32"), "labels": np.eye(4, dtype="float32")}
        >>> tuple(augment.Mosaic(1.0)(batch, seed=1)["images"].shape)
        (4, 8, 8, 3)
    """

    def __init__(self, probability: float = 0.5, *, stop_epoch: int | None = None) -> None:
        super().__init__(dtype="float32")
        self.probability, self.stop_epoch = check_share(probability), stop_epoch

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> MosaicPlan:
        """Return the random choices (the plan) for a batch of `shape` (N, height, width). See `MosaicPlan`."""
        count, height, width = shape
        mixed = active(draws, count, probability=self.probability, stop_epoch=self.stop_epoch, epoch=epoch)
        others = np.stack([partners(draws, count) for _ in range(3)], 1)
        sides = np.array([height, width])
        corner = np.rint(draws.uniform(0.25, 0.75, (count, 2)) * sides)
        corner = np.where(mixed[:, None], corner, sides).astype(np.int32)
        (top, left), (bottom, right) = corner.T, (sides - corner).T
        areas = np.stack([top * left, top * right, bottom * left, bottom * right], 1)
        return MosaicPlan(others, corner, (areas / (height * width)).astype(np.float32))

    def call(self, batch: dict[str, Any], plan: MosaicPlan | None = None, seed: int | None = None) -> dict[str, Any]:
        plan = plan_for(self, batch, plan, seed)
        images, labels = float_images(batch), batch["labels"]
        check_soft(labels)
        others = [ops.cast(plan.partners, "int32")[:, number] for number in range(3)]
        corner = ops.cast(plan.corner, "int32")
        above = ops.arange(images.shape[1], dtype="int32")[None, :, None, None] < corner[:, 0][:, None, None, None]
        left = ops.arange(images.shape[2], dtype="int32")[None, None, :, None] < corner[:, 1][:, None, None, None]
        first, second, third = (ops.take(images, other, axis=0) for other in others)
        images = ops.where(above, ops.where(left, images, first), ops.where(left, second, third))
        weights = ops.cast(plan.weights, labels.dtype)
        parts = [labels, *(ops.take(labels, other, axis=0) for other in others)]
        shares = [weights[:, number][:, None] for number in range(4)]
        # 0 * NaN would be NaN, but a label without a share in the image must not count
        mixed = [ops.where(share > 0, part * share, 0.0) for part, share in zip(parts, shares, strict=True)]
        return {**batch, "images": images, "labels": mixed[0] + mixed[1] + mixed[2] + mixed[3]}
