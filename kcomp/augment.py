"""MixUp, CutMix and random erasing as Keras layers.

A layer has two methods. `draw` makes all random choices for a batch with a NumPy generator. It returns them as a plan:
small arrays with one row for each sample. `call` applies a plan to the batch, without weights or random numbers. Both
backends therefore compute the same images.

In training, kcomp calls `draw` and passes the plans with the images. In a notebook, call a layer with a seed:
`MixUp(0.2)({"images": images, "labels": labels}, seed=1)`.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.data.draws import Purpose, generator
from kcomp.data.plans import ErasePlan, MixPlan, Shape, active, area, beta, boxes_around, partners, plan_of

__all__ = ["CutMix", "MixUp", "RandomErasing", "Switch"]


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


class RandomErasing(keras.layers.Layer):
    """Fill one box of an image with one colour. Labels stay unchanged.

    The layer draws up to ten boxes for each image, and fills the first box that fits into the image. If no box fits,
    the image stays unchanged (Zhong et al. 2020, Random erasing data augmentation).

    Args:
        probability: Probability that an image gets a box, 0 to 1.
        share: Smallest and largest area of the box, as shares of the image's area, between 0 and 1. The area is drawn
            uniformly from this range.
        aspect: Smallest ratio height / width of the box, above 0 and at most 1. The largest ratio is 1 / aspect. The
            logarithm of the ratio is drawn uniformly.
        fill: One value, or three for red, green and blue, 0 to 255. None draws a colour for each box.

    Raises:
        ValueError: If an argument is out of range.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> batch = {"images": np.full((2, 32, 32, 3), 255, "float32"), "labels": np.eye(2, dtype="float32")}
        >>> erased = augment.RandomErasing(1.0, fill=0.0)(batch, seed=1)
        >>> float(np.min(np.asarray(erased["images"])))
        0.0
    """

    def __init__(
        self,
        probability: float = 0.25,
        *,
        share: tuple[float, float] = (0.02, 0.4),
        aspect: float = 0.3,
        fill: float | tuple[float, float, float] | None = None,
    ) -> None:
        super().__init__(dtype="float32")
        if not 0 < share[0] <= share[1] < 1 or not 0 < aspect <= 1:
            raise ValueError(f"need 0 < share[0] <= share[1] < 1 and 0 < aspect <= 1; received {share} and {aspect}")
        self.probability, self.share, self.aspect, self.fill = check_share(probability), share, aspect, fill

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> ErasePlan:
        """Return the random choices (the plan) for a batch of `shape` (N, height, width). See `ErasePlan`."""
        count, height, width = shape
        pending = draws.random(count) < self.probability
        box = np.zeros((count, 4), np.int32)
        for _ in range(10):
            size = draws.uniform(*self.share, count) * height * width
            ratio = np.exp(draws.uniform(np.log(self.aspect), -np.log(self.aspect), count))
            tall, wide = np.rint(np.sqrt(size * ratio)).astype(int), np.rint(np.sqrt(size / ratio)).astype(int)
            fits = pending & (tall > 0) & (wide > 0) & (tall < height) & (wide < width)
            top = draws.integers(0, np.where(fits, height - tall + 1, 1))
            left = draws.integers(0, np.where(fits, width - wide + 1, 1))
            box[fits] = np.stack([top, top + tall, left, left + wide], 1)[fits]
            pending &= ~fits
        colour = draws.uniform(0, 255, (count, 3)) if self.fill is None else np.broadcast_to(self.fill, (count, 3))
        return ErasePlan(box, colour.astype(np.float32))

    def call(self, batch: dict[str, Any], plan: ErasePlan | None = None, seed: int | None = None) -> dict[str, Any]:
        plan = plan_for(self, batch, plan, seed)
        images = float_images(batch)
        colour = plan.colour if images.shape[-1] == 3 else plan.colour[:, :1]
        colour = ops.cast(colour, images.dtype)[:, None, None, :]
        return {**batch, "images": ops.where(inside_box(plan.box, images.shape), colour, images)}


def float_images(batch: dict[str, Any]) -> Any:
    """Return the images of a batch as floats. Whole numbers (uint8) become float32."""
    images = ops.convert_to_tensor(batch["images"])
    return images if keras.backend.is_float_dtype(images.dtype) else ops.cast(images, "float32")


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


def inside_box(box: Any, shape: Shape) -> Any:
    """Return a mask (N, H, W, 1) that is True inside the box of each sample.

    Args:
        box: Shape (N, 4): top, bottom, left, right, with exclusive ends.
        shape: The shape of the images, (N, H, W, C).
    """
    rows, columns = ops.arange(shape[1], dtype="int32")[None, :, None, None], ops.arange(shape[2], dtype="int32")
    top, bottom, left, right = (ops.cast(box, "int32")[:, i][:, None, None, None] for i in range(4))
    columns = columns[None, None, :, None]
    within = ops.logical_and(rows >= top, rows < bottom)
    return ops.logical_and(within, ops.logical_and(columns >= left, columns < right))


def plan_for(layer: Any, batch: dict[str, Any], plan: Any, seed: int | None) -> Any:
    """Return `plan`, the random choices of a layer. If it is None, draw a plan from `seed`.

    Raises:
        ValueError: If both are None.
    """
    if plan is not None:
        return plan
    if seed is None:
        raise ValueError(f"{type(layer).__name__} needs a plan or a seed; call it as layer(batch, seed=1)")
    return layer.draw(generator(seed, Purpose.MIX), tuple(batch["images"].shape[:3]))


def check_soft(labels: Any) -> None:
    """Raise ValueError unless labels are floats of shape (N, columns).

    Without this check, class numbers of shape (N,) would give wrong results and no error.
    """
    if len(labels.shape) != 2 or not keras.backend.is_float_dtype(labels.dtype):
        raise ValueError(
            "mixing needs one-hot or soft labels or numbers, floats of shape (batch, columns); "
            f"received {keras.backend.standardize_dtype(labels.dtype)} of shape {tuple(labels.shape)}"
        )


def check_share(probability: float) -> float:
    if not isinstance(probability, int | float) or not 0 <= probability <= 1:
        raise ValueError(f"a probability must lie between 0 and 1; received {probability}")
    return probability


def check_beta(alpha: float) -> float:
    if not isinstance(alpha, int | float) or not alpha >= 0:
        raise ValueError(f"alpha must be above 0, or 0 to turn mixing off; received {alpha}")
    return alpha
