"""Random erasing: fill a box of an image with one colour."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.augment.planned import check_share, float_images, inside_box, plan_for
from kcomp.data.plans import ErasePlan, Shape


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
