"""MixUp, CutMix and random erasing as Keras layers whose plan is drawn on the host and done in the compiled step.

A layer has two halves. `draw` takes a NumPy generator and returns a plan: small arrays, one row a sample. `call`
takes a batch and a plan and does what it says; it holds neither weights nor randomness, so both backends compute the
same images. In training, kcomp draws the plans and sends them along with the images; in a notebook, call a layer with
a seed: `MixUp(0.2)({"images": images, "labels": labels}, seed=1)`.

Every plan that mixes has four arrays: `partner` int32 (N,), the row each sample is mixed with; `blend` float32 (N,),
the share of its own pixels outside the box; `box` int32 (N, 4), top, bottom, left, right (exclusive ends) of what is
pasted from the partner; `weight` float32 (N,), the share of its own label. (1, an empty box, 1) leaves a sample alone.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.data.draws import Purpose, generator

Plan = dict[str, np.ndarray]
Shape = Sequence[int]


class MixUp(keras.layers.Layer):
    """Blend each image and its label with another one's: x = w x_i + (1 - w) x_j, w from Beta(alpha, alpha) per
    sample (Zhang et al. 2018, mixup: beyond empirical risk minimization, equation 1).

    alpha:       1 draws w uniformly, 0 turns mixing off.
    probability: that a sample is mixed, 0 to 1.
    stop_epoch:  the first epoch (counted from 0 over all stages) that is not mixed; None mixes to the end.
    """

    def __init__(self, alpha: float = 0.2, *, probability: float = 1.0, stop_epoch: int | None = None) -> None:
        super().__init__(dtype="float32")  # pixels and labels keep their precision under any policy
        self.alpha, self.probability, self.stop_epoch = check_beta(alpha), check_share(probability), stop_epoch

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> Plan:
        """The plan for a batch of `shape` (count, height, width)."""
        mixed = active(draws, shape[0], probability=self.probability, stop_epoch=self.stop_epoch, epoch=epoch)
        weight = np.where(mixed, beta(draws, self.alpha, shape[0]), 1.0).astype(np.float32)
        return plan_of(partners(draws, shape[0]), blend=weight, weight=weight)

    def call(self, batch: dict[str, Any], plan: Plan | None = None, seed: int | None = None) -> dict[str, Any]:
        return mix(batch, plan_for(self, batch, plan, seed))


class CutMix(keras.layers.Layer):
    """Paste a box of another image: of share 1 - w, w from Beta(alpha, alpha) per sample, around a uniform centre and
    clipped at the border; the label's share is corrected for what was clipped (Yun et al. 2019, CutMix, algorithm 1).

    alpha = 1 draws w uniformly, as the paper does; the other arguments are those of MixUp.
    """

    def __init__(self, alpha: float = 1.0, *, probability: float = 1.0, stop_epoch: int | None = None) -> None:
        super().__init__(dtype="float32")
        self.alpha, self.probability, self.stop_epoch = check_beta(alpha), check_share(probability), stop_epoch

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> Plan:
        """The plan for a batch of `shape` (count, height, width)."""
        count, height, width = shape
        mixed = active(draws, count, probability=self.probability, stop_epoch=self.stop_epoch, epoch=epoch)
        kept = np.where(mixed, beta(draws, self.alpha, count), 1.0)
        side = np.sqrt(1.0 - kept)
        box = boxes_around(draws, shape, (height * side).astype(np.int32), (width * side).astype(np.int32))
        weight = (1.0 - area(box) / (height * width)).astype(np.float32)
        return plan_of(partners(draws, count), box=box, weight=weight)

    def call(self, batch: dict[str, Any], plan: Plan | None = None, seed: int | None = None) -> dict[str, Any]:
        return mix(batch, plan_for(self, batch, plan, seed))


class Switch(keras.layers.Layer):
    """For each sample, the first layer's plan or the second's: `Switch(MixUp(0.2), CutMix(1.0), first=0.5)`.

    `first` is the probability of the first, 0 to 1.
    """

    def __init__(self, one: "MixUp | CutMix", other: "MixUp | CutMix", *, first: float = 0.5) -> None:
        super().__init__(dtype="float32")
        self.one, self.other, self.first = one, other, check_share(first)
        self.built = True  # the two layers inside are only asked for their plans

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> Plan:
        """The plan for a batch of `shape` (count, height, width)."""
        chosen = draws.random(shape[0]) < self.first
        one, other = self.one.draw(draws, shape, epoch), self.other.draw(draws, shape, epoch)
        return {
            name: np.where(chosen if one[name].ndim == 1 else chosen[:, None], one[name], other[name]) for name in one
        }

    def call(self, batch: dict[str, Any], plan: Plan | None = None, seed: int | None = None) -> dict[str, Any]:
        return mix(batch, plan_for(self, batch, plan, seed))


class RandomErasing(keras.layers.Layer):
    """Fill one box of an image with one colour; labels stay (Zhong et al. 2020, Random erasing data augmentation).

    probability: that an image is erased, 0 to 1.
    share:       smallest and largest share of the image, the box's area is uniform between them.
    aspect:      smallest height / width of the box, the largest is its inverse; the ratio's logarithm is uniform.
    fill:        a value or three, 0 to 255; None draws a colour for each box.
    A box that does not fit is drawn again, up to ten times; then the image stays as it is.
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

    def draw(self, draws: np.random.Generator, shape: Shape, epoch: int = 0) -> Plan:
        """The plan for a batch of `shape` (count, height, width): `box` int32 (N, 4) and `colour` float32 (N, 3)."""
        count, height, width = shape
        waiting = draws.random(count) < self.probability
        box = np.zeros((count, 4), np.int32)
        for _ in range(10):
            size = draws.uniform(*self.share, count) * height * width
            ratio = np.exp(draws.uniform(np.log(self.aspect), -np.log(self.aspect), count))
            tall, wide = np.rint(np.sqrt(size * ratio)).astype(int), np.rint(np.sqrt(size / ratio)).astype(int)
            fits = waiting & (tall > 0) & (wide > 0) & (tall < height) & (wide < width)
            top = draws.integers(0, np.where(fits, height - tall + 1, 1))
            left = draws.integers(0, np.where(fits, width - wide + 1, 1))
            box[fits] = np.stack([top, top + tall, left, left + wide], 1)[fits]
            waiting &= ~fits
        drawn = draws.uniform(0, 255, (count, 3)) if self.fill is None else np.broadcast_to(self.fill, (count, 3))
        return {"box": box, "colour": drawn.astype(np.float32)}

    def call(self, batch: dict[str, Any], plan: Plan | None = None, seed: int | None = None) -> dict[str, Any]:
        plan = plan_for(self, batch, plan, seed)
        inside = inside_box(plan["box"], batch["images"].shape)
        images = ops.where(inside, ops.cast(plan["colour"], batch["images"].dtype)[:, None, None, :], batch["images"])
        return {**batch, "images": images}


def mix(batch: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Mix `images` (N, H, W, C) and `labels` (N, classes) as a plan says."""
    images, labels = batch["images"], batch["labels"]
    check_soft(labels)
    partner = ops.cast(plan["partner"], "int32")
    others = ops.take(images, partner, axis=0)
    blend = ops.cast(plan["blend"], images.dtype)[:, None, None, None]
    images = ops.where(inside_box(plan["box"], images.shape), others, images * blend + others * (1 - blend))
    weight = ops.cast(plan["weight"], labels.dtype)[:, None]
    return {**batch, "images": images, "labels": labels * weight + ops.take(labels, partner, axis=0) * (1 - weight)}


def inside_box(box: Any, shape: Shape) -> Any:
    """A mask (N, H, W, 1), true inside each sample's box."""
    rows, columns = ops.arange(shape[1], dtype="int32")[None, :, None, None], ops.arange(shape[2], dtype="int32")
    top, bottom, left, right = (ops.cast(box, "int32")[:, i][:, None, None, None] for i in range(4))
    columns = columns[None, None, :, None]
    within = ops.logical_and(rows >= top, rows < bottom)
    return ops.logical_and(within, ops.logical_and(columns >= left, columns < right))


def plan_for(layer: Any, batch: dict[str, Any], plan: Plan | None, seed: int | None) -> Plan:
    """The plan given, or one drawn from `seed`; ValueError where there is neither."""
    if plan is not None:
        return plan
    if seed is None:
        raise ValueError(f"{type(layer).__name__} needs a plan or a seed; call it as layer(batch, seed=1)")
    return layer.draw(generator(seed, Purpose.MIX), tuple(batch["images"].shape[:3]))


def active(
    draws: np.random.Generator, count: int, probability: float, stop_epoch: int | None, epoch: int
) -> np.ndarray:
    """Which samples take part, bool (N,)."""
    return (draws.random(count) < probability) & (stop_epoch is None or epoch < stop_epoch)


def partners(draws: np.random.Generator, count: int) -> np.ndarray:
    """A random permutation: every sample is partner once, and may be its own."""
    return draws.permutation(count).astype(np.int32)


def plan_of(
    partner: np.ndarray, *, weight: np.ndarray, blend: np.ndarray | None = None, box: np.ndarray | None = None
) -> Plan:
    count = len(partner)
    return {
        "partner": partner,
        "blend": np.ones(count, np.float32) if blend is None else blend,
        "box": np.zeros((count, 4), np.int32) if box is None else box,
        "weight": weight,
    }


def boxes_around(draws: np.random.Generator, shape: Shape, tall: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Boxes of these sizes around uniform centres, clipped at the border: int32 (N, 4)."""
    count, height, width = shape
    row, column = draws.integers(0, height, count), draws.integers(0, width, count)
    top, left = row - tall // 2, column - wide // 2
    edges = [top, top + tall, left, left + wide]
    return np.stack(
        [np.clip(edge, 0, size) for edge, size in zip(edges, (height, height, width, width), strict=True)], 1
    ).astype(np.int32)


def area(box: np.ndarray) -> np.ndarray:
    return (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])


def check_soft(labels: Any) -> None:
    """Class numbers would broadcast into nonsense, so only (N, classes) floats pass."""
    if len(labels.shape) != 2 or labels.shape[1] < 2 or not keras.backend.is_float_dtype(labels.dtype):
        raise ValueError(
            "mixing needs one-hot or soft labels, floats of shape (batch, classes); "
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


def beta(draws: np.random.Generator, alpha: float, count: int) -> np.ndarray:
    """`count` draws from Beta(alpha, alpha); ones, which mix nothing, where alpha is 0."""
    return draws.beta(alpha, alpha, count) if alpha else np.ones(count)
