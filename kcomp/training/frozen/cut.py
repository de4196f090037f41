"""A network cut in two at one tensor: the frozen layers below it, and everything that is trained above it."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kcomp.engine.graph import is_plain_functional, nodes_of
from kcomp.models.classifier import leaves


class NotCutError(ValueError):
    """A network that has no place to be cut at."""


def cut(network: keras.Model, *, spatial: bool = False) -> tuple[keras.Model, keras.Model]:
    """Return (frozen, rest), two models of the network's own layers and variables: rest(frozen(images)) is the network.

    `rest` has every layer that learns as the layers' `trainable` stands now, batch normalisation that would update its
    statistics included. The cut is the latest tensor that all paths pass through, with `spatial` the latest of them of
    shape (batch, height, width, channels); layers without weights that draw noise (dropout) and follow the last frozen
    weights stay in `rest`. Run `frozen` in inference mode: noise inside it, such as drop connect between frozen
    blocks, is then off. NotCutError where the network is neither a Sequential nor functional with one
    input, nothing can be cut off, or noise comes before the first weights: that is augmentation, which inference would
    leave out.
    """
    nodes = in_order(network)
    learning = next((place for place, node in enumerate(nodes) if learns(node.operation)), None)
    if learning is None:
        raise NotCutError("a network of which no layer is trained has nothing to be cut from")
    found = [(place, tensor) for place, tensor in passages(nodes, network.outputs) if place < learning]
    if spatial:
        found = [(place, tensor) for place, tensor in found if len(tensor.shape) == 4]
    while found and noise_ends(nodes, found):
        found.pop()
    if not found or not any(has_weights(node.operation) for node in nodes[: found[-1][0] + 1]):
        raise NotCutError(
            f"nothing can be cut off below {nodes[learning].operation.name!r}, the first layer that is trained: frozen "
            f"layers with weights must come before it, and one tensor{' of 4 dimensions' * spatial} between them"
        )
    if drawn := next(augmentation(nodes), None):
        raise NotCutError(
            f"layer {drawn!r} of the network draws noise on images, which is off in what is cut off; augment in the "
            f"recipe's batches instead (Batches' transform or layers)"
        )
    tensor = found[-1][1]
    return (
        keras.Model(network.inputs[0], tensor, name=f"{network.name}_frozen"),
        keras.Model(tensor, network.outputs[0], name=f"{network.name}_rest"),
    )


def split_frozen(network: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """The two parts that `cut` gives, or (None, network) where it gives none, or a layer is in both."""
    try:
        frozen, rest = cut(network)
    except NotCutError:
        return None, network
    below = {id(variable) for variable in frozen.variables}
    return (None, network) if any(id(variable) in below for variable in rest.variables) else (frozen, rest)


def in_order(network: keras.Model) -> list[Any]:
    """The calls of layers that make up a functional model, each after those it needs."""
    nodes = nodes_of(network) if is_plain_functional(network) else None
    if nodes is None:
        raise NotCutError(
            "only a Sequential, or a functional model keras.Model(inputs, outputs) of one input and one output can be "
            f"cut; received a {type(network).__name__}"
        )
    return nodes


def passages(nodes: Sequence[Any], outputs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Places in the order, each with the one tensor that everything after it hangs on."""
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


def noise_ends(nodes: Sequence[Any], found: Sequence[tuple[int, Any]]) -> bool:
    """Whether noise lies behind the last frozen weights and before the last passage, which is then too late."""
    last = found[-1][0]
    weighted = max((place for place in range(last + 1) if has_weights(nodes[place].operation)), default=-1)
    before = [place for place, _ in found[:-1] if place >= weighted]  # a cut among weights would give up a block
    return bool(before) and any(draws_noise(node.operation) for node in nodes[before[0] + 1 : last + 1])


def augmentation(nodes: Sequence[Any]) -> Iterator[str]:
    """The names of the layers that draw noise before there are weights, except for those that normalise images."""
    for layer in (layer for node in nodes for layer in parts(node.operation)):
        if has_weights(layer) and type(layer) is not keras.layers.Normalization:
            return
        if draws_noise(layer):
            yield layer.name


def learns(operation: Any) -> bool:
    """Whether training changes a weight of this layer, or a statistic."""
    return any(layer.trainable and layer.weights for layer in parts(operation))


def has_weights(operation: Any) -> bool:
    return bool(getattr(operation, "weights", ()))


def draws_noise(operation: Any) -> bool:
    """Whether a layer has a random state and no weights; Keras's dropout at rate 0 has neither."""
    return bool(getattr(operation, "variables", ())) and not has_weights(operation)


def parts(operation: Any) -> list[keras.layers.Layer]:
    """A layer, or the layers of an inner model; nothing for an operation such as an addition of tensors."""
    if isinstance(operation, keras.Model):
        return [layer for _, layer in leaves(operation)]
    return [operation] if isinstance(operation, keras.layers.Layer) else []
