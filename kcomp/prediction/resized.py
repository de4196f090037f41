"""Apply a network to images of another size than it was built for, with the same weights."""

from collections.abc import Sequence
from typing import Any

import keras

from kcomp.data.image_size import height_and_width
from kcomp.engine.graph import functional_of, is_plain_functional, nodes_of
from kcomp.prediction.view_pixels import size_of
from kcomp.recipe import Stage
from kcomp.views import View

NEEDS = "needs a network of convolutions and global pooling"


def resize_network(
    network: keras.Model,
    height: int,
    width: int,
    *,
    use: str = "a view with another scale",
    remedy: str = "views.scales",
) -> keras.Model:
    """Return a network for images of another size. It shares the layers and the weights of `network`.

    Args:
        network: A functional model, or a Sequential.
        height: The height of the images in pixels.
        width: The width of the images in pixels.
        use: What needs the size; used in error messages only.
        remedy: What the user can leave out; used in error messages only.

    Raises:
        ValueError: If a layer, such as a dense layer on a flattened image, does not accept the size.
    """
    size = f"images of {height} x {width} pixels"
    inputs = keras.Input((height, width, *network.input_shape[3:]), dtype=network.inputs[0].dtype)
    try:
        outputs = run_graph(network, inputs)
    except Exception as error:  # each layer has its own error for a wrong size
        reason = str(error).strip().split("\n")[0]
        message = f"{use} {NEEDS}; {network.name!r} does not accept {size}: {reason} Leave out {remedy}"
        raise ValueError(message) from error
    if outputs.shape != network.outputs[0].shape:
        raise ValueError(
            f"{use} {NEEDS}; for {size}, {network.name!r} returns {outputs.shape} instead of "
            f"{network.outputs[0].shape}. Leave out {remedy}"
        )
    return keras.Model(inputs, outputs, name=network.name)


def run_graph(model: keras.Model, inputs: Any) -> Any:
    """Call the layers of a functional model, and of its inner models, on other inputs. Return the output."""
    nodes = nodes_of(model) if is_plain_functional(model) else None
    if nodes is None:
        raise ValueError("it is not a functional model with one input and one output.")
    functional = functional_of(model)
    tensors = {id(functional.inputs[0]): inputs}
    for node in nodes:
        if node.is_input:
            continue
        arguments, keywords = keras.tree.map_structure(
            lambda value: tensors.get(id(value), value), (list(node.arguments.args), dict(node.arguments.kwargs))
        )
        if isinstance(node.operation, keras.Model) and is_plain_functional(node.operation):
            results = run_graph(node.operation, arguments[0])
        else:
            results = node.operation(*arguments, **keywords)
        for tensor, result in zip(node.outputs, keras.tree.flatten(results), strict=True):
            tensors[id(tensor)] = result
    return tensors[id(functional.outputs[0])]


def check_scales(views: Sequence[View], network: keras.Model, shape: tuple[int, ...]) -> None:
    """Raise ValueError if the network does not accept images of the size of a view. `shape` is (height, width,
    channels).
    """
    for height, width in dict.fromkeys(size_of(view, shape) for view in views if view.scale != 1):
        resize_network(network, height, width)


def resize_for_stage(network: keras.Model, stage: Stage) -> keras.Model:
    """Return the network for the image size of a stage: `network` itself if the stage does not set a size."""
    if stage.image_size is None:
        return network
    height, width = height_and_width(stage.image_size)
    use = f"stage {stage.name!r}: image_size"
    return resize_network(network, height, width, use=use, remedy="image_size")
