"""Run the frozen layers in inference mode before each training step, as a cached stage does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kcomp.prediction.forward import forward_on_device
from kcomp.training.frozen.cut import cut, split_frozen
from kcomp.training.mixed import apply_plans, planned_layers

Prepare = Callable[[dict[str, Any]], dict[str, Any]]


def run_frozen(frozen: keras.Model, layers: Sequence[Any]) -> Prepare:
    """Return a function that applies batch layers, such as MixUp, to a batch, and replaces its images by features.

    The returned batch has the features under `images` and, with `layers`, the mixed labels under `mixed`. A cached
    stage computes the same features, if its batches are not mixed.

    Args:
        frozen: Network from images to features.
        layers: The batch layers. The batches contain their random choices.
    """
    forward, layers = forward_on_device(frozen), planned_layers(layers)

    def mix(batch: dict[str, Any]) -> dict[str, Any]:
        return apply_plans(layers, batch)

    if keras.backend.backend() == "jax":
        import jax

        mix = jax.jit(mix)

    def run(batch: dict[str, Any]) -> dict[str, Any]:
        batch = keras.tree.map_structure(on_devices, batch)
        mixed = mix(batch) if layers else batch
        features = {"images": forward(mixed["images"]), "labels": batch["labels"]}
        return features | ({"mixed": mixed["labels"]} if layers else {})

    return run


@dataclass(frozen=True)
class StageParts:
    """The parts of a stage's network, and the batch layers that each part of the step applies.

    Attributes:
        frozen: The frozen layers before the first trainable layer. None if the training step runs the whole network.
        trained: The network that the training step runs: the layers above `frozen`, or all layers.
        layers: The batch layers that the training step applies. Empty if `prepare` applies them.
        prepare: A function that turns a batch into the input of the training step.
    """

    frozen: keras.Model | None
    trained: keras.Model
    layers: Sequence[Any]
    prepare: Prepare


def split_stage(
    network: keras.Model, layers: Sequence[Any], *, cached: bool = False, spatial: bool = False
) -> StageParts:
    """Divide a network for a stage, by the current `trainable` of its layers.

    A cached stage trains on stored features. Otherwise, `prepare` runs the frozen layers before each step.

    The training step runs the whole network if the network cannot be divided. It also does so if a batch layer from the
    recipe's code has variables, such as a generator's state, because Keras updates variables only in the step.

    Args:
        network: The classifier.
        layers: The batch layers that the stage applies.
        cached: Whether the stage trains on stored features.
        spatial: Whether those features must be maps (batch, height, width, channels).

    Raises:
        NotCutError: If the stage is cached and the network cannot be divided.
    """
    if cached:
        return StageParts(*cut(network, spatial=spatial), layers, keep_batch)
    frozen, trained = split_frozen(network)
    if frozen is None or any(layer.variables for layer in planned_layers(layers)):
        return StageParts(None, network, layers, keep_batch)
    return StageParts(frozen, trained, (), run_frozen(frozen, layers))


def keep_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the batch unchanged."""
    return batch


def on_devices(values: Any) -> Any:
    """Return values as the backend's array. With several devices, each device holds a part of the rows."""
    array, distribution = ops.convert_to_tensor(values), keras.distribution.distribution()
    if distribution is None:
        return array
    return keras.distribution.distribute_tensor(array, distribution.get_data_layout(array.shape))
