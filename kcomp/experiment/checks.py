"""Check the network and the losses of a recipe before the training starts."""

from typing import Any

import keras
import numpy as np

from kcomp.engine.graph import is_one_tensor
from kcomp.recipe import Stage
from kcomp.targets import Grades, Numbers, Target

PROBABILITIES = {"softmax", "sigmoid", "hard_sigmoid", "sparsemax"}  # names of activations and of layers
PASSES_ON = (keras.layers.Identity, keras.layers.Dropout, keras.layers.Flatten, keras.layers.Reshape)


def check_output(network: keras.Model, target: Target) -> None:
    """Raise ValueError unless a network has one input, and returns logits (batch, target.outputs)."""
    inputs = getattr(network, "inputs", None) or []
    if len(inputs) != 1:
        raise ValueError(
            f"the recipe's model() must return a model with one keras.Input: keras.Model(inputs, outputs), in which a "
            f"subclassed model may be a layer, or a Sequential that begins with it; received a "
            f"{type(network).__name__} with {len(inputs) or 'no'} inputs"
        )
    outputs = network.compute_output_spec(inputs[0])
    shapes = keras.tree.map_structure(lambda output: output.shape, outputs)
    if not is_one_tensor(outputs) or keras.tree.flatten(outputs)[0].shape != (None, target.outputs):
        raise ValueError(
            f"the recipe's model must give logits of shape (batch, {target.outputs}) for a target of {target.name}, "
            f"{list(target.columns)}; it gives {shapes}"
        )
    if ending := probability_layer(network):
        raise ValueError(
            f"the recipe's model must end in logits, but it ends in {ending}; kcomp turns logits into predictions "
            "itself, so leave that activation out"
        )


def check_loss(stage: Stage, target: Target) -> None:
    """Raise ValueError if a stage has a loss of Keras that does not fit the meaning of the target's logits."""
    kind = type(stage.loss)
    if isinstance(target, Numbers | Grades) and kind.__module__.startswith("keras."):
        raise ValueError(
            f"stage {stage.name!r}: the logits of {target.name} are not in the units of the labels, which keras.losses."
            f"{kind.__name__} does not know; leave the loss out, or use one of kcomp.losses"
        )


def probability_layer(network: keras.Model) -> str | None:
    """Return a description of the network's last layer if its outputs are probabilities. None if they are logits."""
    operation: Any = last_operation(network)
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return probability_layer(operation)
    if not type(operation).__module__.startswith("keras."):
        return f"{operation.name!r}, which returns probabilities" if is_normalised(network) else None
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    if activation == "<lambda>" and is_normalised(network):
        return f"the activation of layer {operation.name!r}"
    if activation in PROBABILITIES:
        return f"the activation {activation} of layer {operation.name!r}"
    kind = type(operation).__name__
    return f"a {kind.lower()} ({operation.name!r})" if kind.lower() in PROBABILITIES else None


def last_operation(network: keras.Model) -> Any:
    """Return the last layer or operation of a network that changes values. None for a subclassed model."""
    if not getattr(network, "outputs", None):
        return None
    history = network.outputs[0]._keras_history
    while isinstance(history.operation, PASSES_ON) or only_casts(history.operation):
        node = history.operation._inbound_nodes[history.node_index]  # a layer that is called twice has two nodes
        history = node.input_tensors[0]._keras_history
    return history.operation


def only_casts(operation: Any) -> bool:
    """Return whether an operation changes nothing but the dtype of its input."""
    linear = isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear
    return linear or type(operation).__name__ == "Cast"


def is_normalised(network: keras.Model) -> bool:
    """Return whether the network's outputs for two random images are at least 0, and sum to 1 for each image."""
    shape = [side or 32 for side in network.inputs[0].shape[1:]]
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
    outputs = keras.ops.convert_to_numpy(network(images, training=False)).astype(np.float64)
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(-1), 1, atol=1e-2))
