"""Load weights from a file that either backend wrote, with or without the head."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import h5py
import keras

from kcomp.models.trainable import leaves

Shapes = list[tuple[int, ...]]


def take_weights(network: keras.Model, path: Path, *, order: Sequence[int] | None = None, head: bool = True) -> bool:
    """Load the weights of a .weights.h5 file into a network.

    The head is the last layer with weights. It is not loaded if the file's head has a different number of outputs.

    Args:
        network: The network to change.
        path: The weights file.
        order: For each output of the network, its position in the file's head. None for the same order.
        head: Whether to load the head.

    Returns:
        Whether the head was loaded.

    Raises:
        ValueError: If the shapes of any other layer differ. The message names the first such layer. The network does
            not change.
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
    elif order is not None:
        last.set_weights([array[..., list(order)] for array in last.get_weights()])
    return fits and head


def compare(network: keras.Model, path: Path) -> dict[str, tuple[Shapes, Shapes]]:
    """Return the layers whose weights have different shapes in the network and in the file.

    Returns:
        (shapes in the network, shapes in the file) by the name of the layer, in the order of the network. Layers that
        only the file has come last.
    """
    with tempfile.TemporaryDirectory() as folder:  # saving the network shows where a layer lies in such a file
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
    """Return name and weight shapes of each layer in a .weights.h5 file, by the layer's path in the file."""
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
    """Load the weights of a run's file. Raise ValueError or FileNotFoundError if the file cannot be read."""
    try:
        network.load_weights(path)
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # h5py's and Keras's errors do not name the file
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> Exception:
    if not path.is_file():
        return FileNotFoundError(f"{path} is not there; a run without it must be trained anew")
    return ValueError(f"{path} is not a weights file of this network, or is damaged: {error}")


def same_but_outputs(expected: Shapes, received: Shapes) -> bool:
    """Return whether the shapes of two layers differ only in the number of outputs, which is the last axis."""
    return [shape[:-1] for shape in expected] == [shape[:-1] for shape in received]
