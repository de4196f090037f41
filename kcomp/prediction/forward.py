"""Predict the images of a table on the current backend, with test-time augmentation."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.data.batches import Batches, ahead, stack
from kcomp.fast.install import install, is_enabled
from kcomp.jax_programs.network_key import cache_key_of_inference
from kcomp.prediction.view_pixels import check_square, look, size_of
from kcomp.targets import Target
from kcomp.views import View

Forward = Callable[[np.ndarray], np.ndarray]


def predict_rows(forward: Forward, batches: Batches, target: Target) -> np.ndarray:
    """Return predictions for the rows of a table: float32 (rows, columns), in the order of the rows.

    Args:
        forward: Function from images to logits.
        batches: The rows to predict, without augmentation. A forward pass has `batches.batch_size` images.
        target: Converts logits to predictions.
    """
    predictions = np.empty((len(batches.table), len(target.prediction_columns)), np.float32)

    def load(rows: np.ndarray) -> np.ndarray:
        return stack([batches.image(int(row)) for row in rows])

    for start, (part,) in predict_passes(forward, batches, target, load, rows=batches.batch_size):
        predictions[start : start + len(part)] = part
    return predictions


def predict_views(
    forward: Forward,
    batches: Batches,
    target: Target,
    *,
    views: Sequence[View],
    augmented: Batches | None = None,
    forward_of_size: Callable[[int, int], Forward] | None = None,
) -> np.ndarray:
    """Return the predictions of each view of the rows of a table: float32 (views, rows, columns).

    A view is a variant of the image for test-time augmentation, such as its mirror image.

    Args:
        forward: Function from images to logits.
        batches: The rows to predict, without augmentation. A forward pass has at most `batches.batch_size` images.
        target: Converts logits to predictions.
        views: The views.
        augmented: The same rows with the training transform, for views that augment at random.
        forward_of_size: Takes a height and a width, and returns a function like `forward` for images of this size.

    Raises:
        ValueError: If a view augments at random and `augmented` is None, or if it swaps rows and columns of images that
            are not square.
    """
    check_square(views, batches.shape)
    predictions = np.empty((len(views), len(batches.table), len(target.prediction_columns)), np.float32)
    for size in dict.fromkeys(size_of(view, batches.shape) for view in views):
        places = [place for place, view in enumerate(views) if size_of(view, batches.shape) == size]
        is_plain_size = size == batches.shape[:2]
        if not is_plain_size and forward_of_size is None:
            raise ValueError("views with another scale need networks of other sizes; pass `forward_of_size`")
        run = forward if is_plain_size or forward_of_size is None else forward_of_size(*size)
        growth = max(1.0, size[0] * size[1] / (batches.shape[0] * batches.shape[1]))
        rows = max(1, int(batches.batch_size / growth) // len(places))
        same_size = [views[place] for place in places]
        load = partial(look, same_size, batches, augmented)
        for start, by_view in predict_passes(run, batches, target, load, rows=rows):
            predictions[places, start : start + rows] = by_view
    return predictions


def predict_passes(
    forward: Forward, batches: Batches, target: Target, load: Callable[[np.ndarray], np.ndarray], *, rows: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield two things for each forward pass: the number of its first row, and predictions (views, rows, columns).

    A forward pass has `rows` rows. `load` takes row numbers and returns all their views: first view 0 of each row, then
    view 1, and so on.
    """
    count = len(batches.table)
    starts = range(0, count, rows)
    # the last pass repeats the last row, so that all passes have one shape
    numbers = (np.minimum(np.arange(start, start + rows), count - 1) for start in starts)
    for start, inputs in zip(starts, ahead(load, ((chosen,) for chosen in numbers), batches.workers), strict=True):
        by_view = target.predict(forward(inputs)).reshape(len(inputs) // rows, rows, -1)
        yield start, by_view[:, : count - start]


def as_float(images: Any) -> Any:
    is_bytes = keras.backend.standardize_dtype(images.dtype) == "uint8"
    return ops.cast(images, "float32") if is_bytes else images


def compile_forward(network: keras.Model) -> Forward:
    """Return a compiled function from images (batch, height, width, 3) to float32 logits (batch, outputs).

    The network runs in inference mode with its current weights. Images are uint8 or float32.
    """
    run = forward_on_device(network)
    if keras.backend.backend() == "torch":
        return lambda images: run(images).cpu().numpy()
    return lambda images: np.asarray(run(images), np.float32)


def forward_on_device(network: keras.Model) -> Callable[[Any], Any]:
    """Return a function like that of `compile_forward`, but its results stay on the device.

    Gradients do not flow back into the network.
    """
    install()
    if keras.backend.backend() == "torch":
        import torch

        if is_enabled("torch-folding"):
            from kcomp.fast.torch.inference import inference_of

            run_torch = inference_of(network)
        else:
            run_torch = torch.inference_mode()(lambda images: network(images, training=False))
        # layers cannot learn from PyTorch's inference tensors; a copy is a normal tensor
        return lambda images: run_torch(as_float(ops.convert_to_tensor(images))).to(torch.float32, copy=True)
    import jax

    from kcomp.jax_programs.store import cached_jit

    variables = list(network.variables)

    def compute(values: list[Any], images: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return network(as_float(images), training=False)

    on_one_device = keras.distribution.distribution() is None
    run = cached_jit(compute, lambda _: cache_key_of_inference(network)) if on_one_device else jax.jit(compute)
    return lambda images: run([variable.value for variable in variables], images).astype("float32")
