"""Load weights files into networks, with or without the head. Both backends write these files in the same format."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import h5py
import keras

from kcomp.models.trainable import leaves

Shapes = list[tuple[int, ...]]


def take_weights(network: keras.Model, path: Path, *, order: Sequence[int] | None = None, head: bool = True) -> bool:
    """Load the weights of a .weights.h5 file into a network, with or without the head.

    The head is the last layer with weights. It is not loaded if the file's head has a different number of outputs.

    Args:
        network: The network to change.
        path: The weights file.
        order: For each output of the network, the position of this output in the file's head. None for the same order.
        head: Whether to load the head too.

    Returns:
        Whether the head was loaded.

    Raises:
        ValueError: If a layer other than the head differs in shape. The message names the first such layer. The
            network does not change.
    """
    last = [layer for _, layer in leaves(network) if layer.weights][-1]
    own_head = last.get_weights()
    differing = compare(network, path)
    fits = not differing
    if differing and not (list(differing) == [last.name] and same_but_outputs(*differing[last.name])):
        name, (expected, received) = next(iter(differing.items()))
        raise ValueError(
            f"the weights in {path} do not fit the network: layer {name!r} has weights of shapes {received or 'none'} "
            f"there, and {expected or 'none'} here ({len(differing)} layers differ)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns that the head is skipped
        network.load_weights(path, skip_mismatch=not fits)
    if not (fits and head):
        last.set_weights(own_head)
    elif order is not None and list(order) != sorted(order):  # outputs that share weights have no axis of outputs
        last.set_weights([array[..., list(order)] for array in last.get_weights()])
    return fits and head


def compare(network: keras.Model, path: Path) -> dict[str, tuple[Shapes, Shapes]]:
    """Return {name of a layer: (shapes in the network, shapes in the file)} for layers whose weights differ in shape.

    The layers are in the order of the network, followed by layers that are only in the file.
    """
    with tempfile.TemporaryDirectory() as folder:  # a file of the network's own weights shows the path of each layer
        network.save_weights(Path(folder) / "own.weights.h5")
        ours = layers_in(Path(folder) / "own.weights.h5")
    theirs = layers_in(path)
    position = {layer.name: number for number, (_, layer) in enumerate(leaves(network))}
    differing = {
        name: (shapes, theirs.get(place, ("", []))[1])
        for place, (name, shapes) in sorted(ours.items(), key=lambda item: position.get(item[1][0], -1))
        if shapes != theirs.get(place, ("", []))[1]
    }
    return differing | {name: ([], shapes) for place, (name, shapes) in theirs.items() if place not in ours}


def layers_in(path: Path) -> dict[str, tuple[str, Shapes]]:
    """Return {path in the file: (name of a layer, shapes of its weights)} for a .weights.h5 file."""
    layers: dict[str, tuple[str, Shapes]] = {}

    def visit(place: str, group: h5py.Group | h5py.Dataset) -> None:
        if (
            isinstance(group, h5py.Group)
            and place.endswith("vars")
            and len(group)
            and not place.startswith("optimizer")
        ):
            arrays = sorted(group.items(), key=lambda item: int(item[0]))
            layers[place] = (str(group.attrs.get("name", place)), [array.shape for _, array in arrays])

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise unreadable(path, error) from error
    return layers


def load_weights(network: keras.Model, path: Path) -> None:
    """Load a weights file of a run into a network.

    Raise ValueError or FileNotFoundError if the file cannot be read or does not fit the network.
    """
    try:
        network.load_weights(path)
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # h5py's and Keras's errors do not name the file
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> Exception:
    if not path.is_file():
        return FileNotFoundError(f"{path} is not there; a run without it must be trained anew")
    return ValueError(f"{path} is not a weights file of this network, or is damaged: {error}")


def same_but_outputs(expected: Shapes, received: Shapes) -> bool:
    """Return whether two layers' weights differ in shape only by the number of outputs, the last axis."""
    return [shape[:-1] for shape in expected] == [shape[:-1] for shape in received]
