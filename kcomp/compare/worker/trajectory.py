"""Run the first updates of a stage (part of a training), and record sketches (short arrays) of the weights."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kcomp.compare.sketch import digest, sketch
from kcomp.compare.worker.experiment import ProbeStage, as_array
from kcomp.data.batches import Batch
from kcomp.data.plans import MixPlan
from kcomp.training.fit import as_input


class Recorder(keras.callbacks.Callback):
    """A callback that records the loss, and a sketch of the trained weights, at the end of each epoch.

    An epoch has one update here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []
        self.sketches: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(float((logs or {}).get("loss", float("nan"))))
        self.sketches.append(weights_sketch(self.model))


def updates(model: keras.Model, batches: Sequence[Batch], *callbacks: Any, together: int = 1) -> None:
    """Train `model` with one update for each batch. Callbacks see the end of an epoch after every `together`
    updates.
    """
    model.fit(
        (as_input(batch) for batch in batches),
        steps_per_epoch=together,
        epochs=len(batches) // together,
        callbacks=list(callbacks),
        verbose=0,
        shuffle=False,
    )


def record_updates(
    experiment: ProbeStage, batches: Sequence[Batch], draws: np.random.Generator | None = None, unit: float = 0.0
) -> dict[str, Any]:
    """Run one update for each batch. At the end, the model gets its starting weights back.

    Args:
        experiment: The network that is trained, with its optimizer.
        batches: The batches.
        draws: Random generator. Before the training, each weight is multiplied by a random number between 1 - unit and
            1 + unit, to simulate rounding. None changes nothing.
        unit: The largest relative change.

    Returns:
        A dict with `losses` (updates,), `sketches` (updates + 1, numbers) of the weights at the start and after each
        update, and `digest`, a hash of the final weights.
    """
    model = experiment.model
    before, recorder = values_of(state_of(model)), Recorder()
    if draws is not None:
        move_weights(experiment.network, draws, unit)
    start = weights_sketch(model)
    updates(model, batches, recorder)
    result = {
        "losses": recorder.losses,
        "sketches": np.stack([start, *recorder.sketches]),
        "digest": final_digest(model),
    }
    for variable, value in zip(state_of(model), before, strict=True):
        variable.assign(value)
    return result


def move_weights(network: keras.Model, draws: np.random.Generator, unit: float) -> None:
    for weight in network.weights:
        value = keras.ops.convert_to_numpy(weight.value)
        if "float" in str(value.dtype):
            weight.assign(value * (1 + unit * draws.uniform(-1, 1, value.shape)))


def state_of(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def values_of(variables: Iterable[Any]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def weights_sketch(model: keras.Model) -> np.ndarray:
    return np.concatenate([sketch(as_array(weight.value)) for weight in model.trainable_variables])


def final_digest(model: keras.Model) -> str:
    return digest([as_array(weight.value) for weight in model.weights])


def reordered(batch: Batch, draws: np.random.Generator) -> Batch:
    """Return a batch with its rows in a random order."""
    order = draws.permutation(len(batch["images"]))
    places = np.argsort(order).astype(np.int32)
    rows = keras.tree.map_structure(lambda values: values[order], batch)
    if "plans" in rows:  # MixUp's partners are row numbers
        rows["plans"] = tuple(
            plan._replace(partner=places[plan.partner]) if isinstance(plan, MixPlan) else plan for plan in rows["plans"]
        )
    return rows
