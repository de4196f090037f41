"""Predict the images of a table on the current backend, with test-time augmentation."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kcomp.data.batches import Batches, ahead, stack
from kcomp.fast.install import install, is_enabled
from kcomp.jax_programs.network_key import cache_key_of_inference
from kcomp.targets import Target
from kcomp.views import View, plain

Forward = Callable[[np.ndarray], np.ndarray]


def predict_rows(
    forward: Forward,
    batches: Batches,
    target: Target,
    *,
    augmented: Batches | None = None,
    views: Sequence[View] = (plain,),
) -> np.ndarray:
    """Return predictions for the rows of a table: float32 (rows, columns), in the order of the rows.

    Each prediction is the mean over several views of the image. A view is a variant of the image for test-time
    augmentation, such as its mirror image.

    Args:
        forward: Function from images to logits.
        batches: The rows to predict, without augmentation. A forward pass has at most `batches.batch_size` images, but
            always all views of a row.
        target: Converts logits to predictions.
        augmented: The same rows with the training transform, for views that augment at random.
        views: Views to average. By default, the image itself.

    Raises:
        ValueError: If a view augments at random and `augmented` is None.
    """
    count, rows = len(batches.table), max(1, batches.batch_size // len(views))
    starts = range(0, count, rows)

    def load(start: int) -> np.ndarray:
        # the last pass repeats the last row, so that all passes have one shape
        chosen = np.minimum(np.arange(start, start + rows), count - 1)
        return np.concatenate([look(view, chosen, batches, augmented) for view in views])

    predictions = np.empty((count, len(target.prediction_columns)), np.float32)
    for start, images in zip(starts, ahead(load, ((start,) for start in starts), batches.workers), strict=True):
        by_view = target.predict(forward(images)).reshape(len(views), rows, -1)
        predictions[start : start + rows] = target.view_mean(by_view)[: count - start]
    return predictions


def look(view: View, rows: np.ndarray, batches: Batches, augmented: Batches | None) -> np.ndarray:
    """Return one view (variant for test-time augmentation) of the images in `rows`.

    The images are (rows, height, width, 3) in 0..255, uint8 or float32.

    rows:      row numbers in the table.
    batches:   the table with the transform without augmentation.
    augmented: the table with the training transform, for views that augment at random.
    """
    if view.draw is None:
        images = stack([batches.image(int(row)) for row in rows])
    elif augmented is None:
        raise ValueError("random views need the training pipeline; pass `augmented`")
    else:
        images = stack([augmented.image(int(row), epoch=view.draw) for row in rows])
    return np.ascontiguousarray(np.flip(images, tuple(axis + 1 for axis in view.flips)))


def as_float(images: Any) -> Any:
    """Convert uint8 images to float32. Return other images unchanged."""
    is_bytes = keras.backend.standardize_dtype(images.dtype) == "uint8"
    return ops.cast(images, "float32") if is_bytes else images


def compile_forward(network: keras.Model) -> Forward:
    """Return a compiled function from images (batch, height, width, 3) to float32 logits (batch, outputs).

    The function runs the network in inference mode with its current weights. Images are uint8 or float32, and become
    float32 on the device.

    JAX compiles the function once for each shape of images. Unlike with `keras.Model.predict`, freezing layers does not
    compile it again. Networks of the same architecture share one program (kcomp.jax_programs). On PyTorch, batch
    normalisation is folded into convolutions.
    """
    run = forward_on_device(network)
    if keras.backend.backend() == "torch":
        return lambda images: run(images).cpu().numpy()
    return lambda images: np.asarray(run(images), np.float32)


def forward_on_device(network: keras.Model) -> Callable[[Any], Any]:
    """Return the same function as `compile_forward`, but with results that stay on the device.

    Trainable layers can take these results as input. Gradients do not flow back into the network.
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
