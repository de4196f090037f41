"""What is frozen below all that learns, in inference mode, ahead of the training step: as a cached stage has it."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kcomp.prediction.forward import forward_on_device
from kcomp.training.frozen.cut import split_frozen
from kcomp.training.mixed import Mixed, apply_plans, planned_layers

Prepare = Callable[[dict[str, Any]], dict[str, Any]]


def run_frozen(frozen: keras.Model, layers: Sequence[Any]) -> Prepare:
    """A function of a batch that mixes its images as these batch layers plan and gives what `frozen` makes of them.

    In the batch that it returns they stand for the images, and with layers the mixed labels are there as `mixed`. It is
    the function that computes a cached stage's features, so both are equal where nothing mixes.
    """
    forward, layers = forward_on_device(frozen), planned_layers(layers)

    def mix(batch: dict[str, Any]) -> dict[str, Any]:
        return apply_plans(layers, batch)

    if keras.backend.backend() == "jax":
        import jax

        mix = jax.jit(mix)

    def run(batch: dict[str, Any]) -> dict[str, Any]:
        batch = keras.tree.map_structure(on_devices, batch)
        found = mix(batch) if layers else batch
        features = {"images": forward(found["images"]), "labels": batch["labels"]}
        return features | ({"mixed": found["labels"]} if layers else {})

    return run


def step_of(network: keras.Model, layers: Sequence[Any], **options: Any) -> tuple[Mixed, Prepare]:
    """The model that trains what of a network learns, and what prepares the batches that it is given.

    It trains the whole network, with the mixing, where that cannot be cut (models.cut.apart), or where a batch layer of
    the recipe's own has variables, such as a generator's state, which Keras takes through the step.
    """
    frozen, rest = split_frozen(network)
    if frozen is None or any(layer.variables for layer in planned_layers(layers)):
        return Mixed(network, layers, **options), as_it_is
    return Mixed(rest, (), **options), run_frozen(frozen, layers)


def as_it_is(batch: dict[str, Any]) -> dict[str, Any]:
    return batch


def on_devices(values: Any) -> Any:
    """Values as the backend's array, each device with its share of the rows where the run has several."""
    array, distribution = ops.convert_to_tensor(values), keras.distribution.distribution()
    if distribution is None:
        return array
    return keras.distribution.distribute_tensor(array, distribution.get_data_layout(array.shape))
