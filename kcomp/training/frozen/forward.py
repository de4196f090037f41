"""Run the frozen layers of a network in inference mode, before each training step."""

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
    """Return a function that replaces the images of a batch by features, which are the outputs of the frozen layers.

    The function first applies batch layers such as MixUp. It keeps the labels before mixing under `labels`, and adds
    those after mixing as `mixed`.

    Args:
        frozen: Network from images to features.
        layers: The batch layers.
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
    """A network that is divided into frozen and trained layers, with the batch layers, such as MixUp.

    Attributes:
        frozen: Network of the layers before the first trained layer. None if the training step runs all layers.
        trained: The network that the training step runs: the layers after `frozen`, or all layers.
        layers: The batch layers that the training step applies. Empty if `prepare` applies them.
        prepare: Function that turns a batch of kcomp.data.Batches into the input of the training step.
    """

    frozen: keras.Model | None
    trained: keras.Model
    layers: Sequence[Any]
    prepare: Prepare


def split_stage(
    network: keras.Model, layers: Sequence[Any], *, cached: bool = False, spatial: bool = False
) -> StageParts:
    """Divide the network of a stage (part of a training) before its first trained layer.

    If it cannot be divided, or if a batch layer has a random state, the training step runs the whole network.

    Args:
        network: The whole network.
        layers: The batch layers, such as MixUp, that the stage applies.
        cached: Whether the stage trains on cached features, the outputs of the frozen layers.
        spatial: Whether the features must have shape (batch, height, width, channels).

    Raises:
        NotCutError: If the stage trains on cached features and the network cannot be divided.
    """
    if cached:
        return StageParts(*cut(network, spatial=spatial), layers, keep_batch)
    frozen, trained = split_frozen(network)
    if frozen is None or any(layer.variables for layer in planned_layers(layers)):
        return StageParts(None, network, layers, keep_batch)
    return StageParts(frozen, trained, (), run_frozen(frozen, layers))


def keep_batch(batch: dict[str, Any]) -> dict[str, Any]:
    return batch


def on_devices(values: Any) -> Any:
    """Return values as arrays of the backend. With several devices, each device gets a part of the rows."""
    array, distribution = ops.convert_to_tensor(values), keras.distribution.distribution()
    if distribution is None:
        return array
    return keras.distribution.distribute_tensor(array, distribution.get_data_layout(array.shape))
