"""Code that the layers with a method `draw` share: plans, boxes, and checks of arguments and labels."""

from typing import Any

import keras
from keras import ops

from kcomp.data.draws import Purpose, generator
from kcomp.data.plans import Shape


def float_images(batch: dict[str, Any]) -> Any:
    """Return the images of a batch as floats. Whole numbers (uint8) become float32."""
    images = ops.convert_to_tensor(batch["images"])
    return images if keras.backend.is_float_dtype(images.dtype) else ops.cast(images, "float32")


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
