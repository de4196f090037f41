"""Divide a network at one tensor into frozen layers, which compute the tensor, and trained layers, which use it."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kcomp.engine.graph import is_plain_functional, nodes_of
from kcomp.models.trainable import leaves


class NotCutError(ValueError):
    """Raised if a network cannot be divided into frozen and trained layers."""


def cut(network: keras.Model, *, spatial: bool = False) -> tuple[keras.Model, keras.Model]:
    """Return (frozen, rest), two models that share the network's layers, with rest(frozen(images)) = network(images).

    `rest` has every layer that is trainable now, including batch normalisation that updates its statistics. The network
    is divided at the last tensor before these layers that all paths pass through. Dropout after the last frozen weights
    stays in `rest`. Run `frozen` in inference mode, which turns off its noise, such as drop connect in frozen blocks.

    Args:
        network: A Sequential, or a functional model with one input and one output.
        spatial: Whether the output of `frozen` must have shape (batch, height, width, channels).

    Raises:
        NotCutError: If the network is of another kind, or if no frozen layers can be separated. Also if a layer before
            the first weights is random: it augments images, and would have no effect in inference mode.
    """
    nodes = in_order(network)
    first_trained = next((place for place, node in enumerate(nodes) if learns(node.operation)), None)
    if first_trained is None:
        raise NotCutError("a network of which no layer is trained has nothing to be cut from")
    places = [(place, tensor) for place, tensor in passages(nodes, network.outputs) if place < first_trained]
    if spatial:
        places = [(place, tensor) for place, tensor in places if len(tensor.shape) == 4]
    while places and noise_ends(nodes, places):
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
    """Return (frozen, rest) as `cut` does. Return (None, network) if it raises NotCutError or both share a layer."""
    try:
        frozen, trained = cut(network)
    except NotCutError:
        return None, network
    below = {id(variable) for variable in frozen.variables}
    return (None, network) if any(id(variable) in below for variable in trained.variables) else (frozen, trained)


def in_order(network: keras.Model) -> list[Any]:
    """Return Keras's nodes (calls of layers) of a functional model, in an order in which they can run.

    Raise NotCutError for other models.
    """
    nodes = nodes_of(network) if is_plain_functional(network) else None
    if nodes is None:
        raise NotCutError(
            "only a Sequential, or a functional model keras.Model(inputs, outputs) of one input and one output can be "
            f"cut; received a {type(network).__name__}"
        )
    return nodes


def passages(nodes: Sequence[Any], outputs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield each tensor that all paths through the network pass, with the position of the node that computes it."""
    waiting: dict[int, int] = {}  # how often each tensor is still needed
    for tensor in [*outputs, *(tensor for node in nodes for tensor in node.input_tensors)]:
        waiting[id(tensor)] = waiting.get(id(tensor), 0) + 1
    alive: dict[int, Any] = {}
    for place, node in enumerate(nodes):
        for tensor in node.input_tensors:
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                alive.pop(id(tensor))
        alive |= {id(tensor): tensor for tensor in node.output_tensors if waiting.get(id(tensor))}
        if len(alive) == 1:
            yield place, next(iter(alive.values()))


def noise_ends(nodes: Sequence[Any], places: Sequence[tuple[int, Any]]) -> bool:
    """Return whether a random layer, such as dropout, lies between the last frozen weights and the last possible cut.

    The network is then divided before the random layer. `places` are the possible cuts, as `passages` yields them.
    """
    last = places[-1][0]
    weighted = max((place for place in range(last + 1) if has_weights(nodes[place].operation)), default=-1)
    before = [place for place, _ in places[:-1] if place >= weighted]  # an earlier cut would lose a frozen block
    return bool(before) and any(draws_noise(node.operation) for node in nodes[before[0] + 1 : last + 1])


def augmentation(nodes: Sequence[Any]) -> Iterator[str]:
    """Yield the names of random layers before the first layer with weights. Normalization does not count as weights."""
    for layer in (layer for node in nodes for layer in parts(node.operation)):
        if has_weights(layer) and type(layer) is not keras.layers.Normalization:
            return
        if draws_noise(layer):
            yield layer.name


def learns(operation: Any) -> bool:
    """Return whether training changes a weight or a statistic of this layer."""
    return any(layer.trainable and layer.weights for layer in parts(operation))


def has_weights(operation: Any) -> bool:
    return bool(getattr(operation, "weights", ()))


def draws_noise(operation: Any) -> bool:
    """Return whether a layer is random: it has a random state and no weights. Dropout at rate 0 is not random."""
    return bool(getattr(operation, "variables", ())) and not has_weights(operation)


def parts(operation: Any) -> list[keras.layers.Layer]:
    """Return the layers of an inner model, or a list of the layer itself. Return an empty list for other operations."""
    if isinstance(operation, keras.Model):
        return [layer for _, layer in leaves(operation)]
    return [operation] if isinstance(operation, keras.layers.Layer) else []
