"""Take weights over from a file that any backend wrote, with or without the head."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import h5py
import keras

from kcomp.models.classifier import leaves

Shapes = list[tuple[int, ...]]


def take_weights(network: keras.Model, path: Path, *, order: Sequence[int] | None = None, head: bool = True) -> bool:
    """Give `network` the weights of a .weights.h5 file; return whether its head is the file's too.

    The head, the last layer with weights, stays as it is where `head` is False or the file's gives another number of
    outputs. `order` gives for each output the file's that it is. ValueError names the first layer that differs
    otherwise; nothing is then taken.
    """
    last = [layer for _, layer in leaves(network) if layer.weights][-1]
    own = last.get_weights()
    differing = compare(network, path)
    fits = not differing
    if differing and not (list(differing) == [last.name] and same_but_outputs(*differing[last.name])):
        name, (expected, found) = next(iter(differing.items()))
        raise ValueError(
            f"the weights in {path} do not fit the network: layer {name!r} has weights of shapes {found or 'none'} "
            f"there, and {expected or 'none'} here ({len(differing)} layers differ)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the head alone is skipped
        network.load_weights(path, skip_mismatch=not fits)
    if not (fits and head):
        last.set_weights(own)
    elif order is not None:
        last.set_weights([array[..., list(order)] for array in last.get_weights()])
    return fits and head


def compare(network: keras.Model, path: Path) -> dict[str, tuple[Shapes, Shapes]]:
    """The layers whose weights have other shapes in the file: theirs here and there, by the layer's name here, in the
    order of the network; last those that only the file has, by their names there."""
    with tempfile.TemporaryDirectory() as folder:  # Keras alone knows where in such a file a layer lies
        network.save_weights(Path(folder) / "own.weights.h5")
        ours = layers_in(Path(folder) / "own.weights.h5")
    theirs = layers_in(path)
    position = {layer.name: number for number, (_, layer) in enumerate(leaves(network))}
    found = {
        name: (shapes, theirs.get(place, ("", []))[1])
        for place, (name, shapes) in sorted(ours.items(), key=lambda item: position.get(item[1][0], -1))
        if shapes != theirs.get(place, ("", []))[1]
    }
    return found | {name: ([], shapes) for place, (name, shapes) in theirs.items() if place not in ours}


def layers_in(path: Path) -> dict[str, tuple[str, Shapes]]:
    """Name and shapes of the weights of each layer in a .weights.h5 file, by their place in it."""
    found: dict[str, tuple[str, Shapes]] = {}

    def visit(place: str, group: h5py.Group | h5py.Dataset) -> None:
        if (
            isinstance(group, h5py.Group)
            and place.endswith("vars")
            and len(group)
            and not place.startswith("optimizer")
        ):
            arrays = sorted(group.items(), key=lambda item: int(item[0]))
            found[place] = (str(group.attrs.get("name", place)), [array.shape for _, array in arrays])

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, RuntimeError) as error:
        raise unreadable(path, error) from error
    return found


def load_weights(network: keras.Model, path: Path) -> None:
    """Set the weights that a run has kept; ValueError or FileNotFoundError names a file that cannot be read."""
    try:
        network.load_weights(path)
    except (OSError, RuntimeError, KeyError, ValueError) as error:  # h5py's and Keras's, which do not say which file
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> Exception:
    if not path.is_file():
        return FileNotFoundError(f"{path} is not there; a run without it must be trained anew")
    return ValueError(f"{path} is not a weights file of this network, or is damaged: {error}")


def same_but_outputs(expected: Shapes, found: Shapes) -> bool:
    """Whether two layers' weights differ in nothing but the number of outputs, their last axis."""
    return [shape[:-1] for shape in expected] == [shape[:-1] for shape in found]
