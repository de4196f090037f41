"""Divide a network at one tensor, the output of its frozen layers and the input of its trained layers."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kcomp.engine.graph import bottlenecks, is_plain_functional, nodes_of
from kcomp.models.trainable import leaves


class NotCutError(ValueError):
    """Raised if a network cannot be divided into frozen layers and trained layers."""


def cut(network: keras.Model, *, spatial: bool = False) -> tuple[keras.Model, keras.Model]:
    """Divide a network into two models, `frozen` and `rest`, such that rest(frozen(images)) = network(images).

    Both models share the layers of the network. `rest` has all trainable layers, and all batch normalisation that
    updates its statistics. The output of `frozen` is the last tensor before the first trained layer that all paths
    through the network pass. Dropout directly before this tensor belongs to `rest`.

    Args:
        network: A Sequential, or a functional model with one input and one output.
        spatial: Whether the output of `frozen` must have shape (batch, height, width, channels).

    Returns:
        The two models (frozen, rest).

    Raises:
        NotCutError: If the network is of another kind, if no layer with weights can be separated, or if the network
            augments its images.
    """
    nodes = in_order(network)
    first_trained = next((place for place, node in enumerate(nodes) if learns(node.operation)), None)
    if first_trained is None:
        raise NotCutError("a network of which no layer is trained has nothing to be cut from")
    places = [(place, tensor) for place, tensor in bottlenecks(nodes, network.outputs) if place < first_trained]
    if spatial:
        places = [(place, tensor) for place, tensor in places if len(tensor.shape) == 4]
    while places and ends_in_noise(nodes, places):
        places.pop()
    dimensions = " of 4 dimensions" if spatial else ""
    if not places or not any(has_weights(node.operation) for node in nodes[: places[-1][0] + 1]):
        raise NotCutError(
            f"nothing can be cut off below {nodes[first_trained].operation.name!r}, the first layer that is trained: "
            f"frozen layers with weights must come before it, and one tensor{dimensions} between them"
        )
    if noisy := next(augmentation(nodes), None):
        raise NotCutError(
            f"layer {noisy!r} of the network draws noise on images, which is off in what is cut off; augment in the "
            f"recipe's batches instead (Batches' transform or layers)"
        )
    tensor = places[-1][1]
    return (
        keras.Model(network.inputs[0], tensor, name=f"{network.name}_frozen"),
        keras.Model(tensor, network.outputs[0], name=f"{network.name}_trained"),
    )


def split_frozen(network: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Divide a network as `cut` does. Return (None, network) if this is not possible."""
    try:
        frozen, trained = cut(network)
    except NotCutError:
        return None, network
    below = {id(variable) for variable in frozen.variables}
    return (None, network) if any(id(variable) in below for variable in trained.variables) else (frozen, trained)


def in_order(network: keras.Model) -> list[Any]:
    """Return the nodes (Keras's records of layer calls) of a functional model in an order in which they can run.

    Raise NotCutError if the model is not functional or Sequential, or has several inputs or outputs.
    """
    nodes = nodes_of(network) if is_plain_functional(network) else None
    if nodes is None:
        raise NotCutError(
            "only a Sequential, or a functional model keras.Model(inputs, outputs) of one input and one output can be "
            f"cut; received a {type(network).__name__}"
        )
    return nodes


def ends_in_noise(nodes: Sequence[Any], places: Sequence[tuple[int, Any]]) -> bool:
    """Return whether random layers, such as dropout, follow the last frozen weights.

    Return False if the network cannot be divided between these weights and the random layers.

    Args:
        nodes: The layer calls of the network, in order.
        places: The tensors at which the network can be divided, as `bottlenecks` yields them.
    """
    last = places[-1][0]
    weighted = max((place for place in range(last + 1) if has_weights(nodes[place].operation)), default=-1)
    before = [place for place, _ in places[:-1] if place >= weighted]  # earlier cuts would freeze fewer weights
    return bool(before) and any(draws_noise(node.operation) for node in nodes[before[0] + 1 : last + 1])


def augmentation(nodes: Sequence[Any]) -> Iterator[str]:
    """Yield the names of random layers before the first layer with weights. These layers augment the images."""
    for layer in (layer for node in nodes for layer in parts(node.operation)):
        if has_weights(layer) and type(layer) is not keras.layers.Normalization:
            return
        if draws_noise(layer):
            yield layer.name


def learns(operation: Any) -> bool:
    """Return whether training changes a weight or a statistic of a layer."""
    return any(layer.trainable and layer.weights for layer in parts(operation))


def has_weights(operation: Any) -> bool:
    return bool(getattr(operation, "weights", ()))


def draws_noise(operation: Any) -> bool:
    """Return whether a layer is random: it has a random state and no weights. Dropout with rate 0 is not random."""
    return bool(getattr(operation, "variables", ())) and not has_weights(operation)


def parts(operation: Any) -> list[keras.layers.Layer]:
    """Return all layers of an inner model, a list of a single layer, or [] for an operation that is no layer."""
    if isinstance(operation, keras.Model):
        return [layer for _, layer in leaves(operation)]
    return [operation] if isinstance(operation, keras.layers.Layer) else []
