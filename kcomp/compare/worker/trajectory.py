"""The first updates of a stage on given batches, weights kept as sketches after each."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kcomp.compare.sketch import digest, sketch
from kcomp.compare.worker.experiment import Experiment, as_array
from kcomp.data.batches import Batch
from kcomp.training.fit import as_input


class Keep(keras.callbacks.Callback):
    """After each epoch, which is one update here: the loss, and a sketch of the trained weights."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.sketches: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(float((logs or {}).get("loss", float("nan"))))
        self.sketches.append(weights_sketch(self.model))


def updates(model: keras.Model, batches: Sequence[Batch], *callbacks: Any, together: int = 1) -> None:
    """One update a batch, `together` updates an epoch of Keras's."""
    model.fit(
        (as_input(batch) for batch in batches),
        steps_per_epoch=together,
        epochs=len(batches) // together,
        callbacks=list(callbacks),
        verbose=0,
        shuffle=False,
    )


def follow(experiment: Experiment, batches: Sequence[Batch]) -> dict[str, Any]:
    """losses (updates,), sketches (updates + 1, ...) from the start on, and the digest of all final weights.

    The model is put back to where it began.
    """
    model = experiment.model
    before, kept = values_of(state_of(model)), Keep()
    start = weights_sketch(model)
    updates(model, batches, kept)
    found = {"losses": kept.losses, "sketches": np.stack([start, *kept.sketches]), "digest": final_digest(model)}
    for variable, value in zip(state_of(model), before, strict=True):
        variable.assign(value)
    return found


def state_of(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def values_of(variables: Iterable[Any]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def weights_sketch(model: keras.Model) -> np.ndarray:
    return np.concatenate([sketch(as_array(weight.value)) for weight in model.trainable_variables])


def final_digest(model: keras.Model) -> str:
    return digest([as_array(weight.value) for weight in model.weights])


def reordered(batch: Batch, draws: np.random.Generator) -> Batch:
    """The same rows in another order: the mean over the batch is the same number, summed otherwise."""
    order = draws.permutation(len(batch["images"]))
    places = np.argsort(order).astype(np.int32)
    found = {name: values[order] for name, values in batch.items()}
    return found | {name: places[found[name]] for name in found if name.endswith(".partner")}
