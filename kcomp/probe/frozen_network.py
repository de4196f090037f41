"""Choose the frozen network whose features are used to check a data set."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from kcomp.data.batches import Batches
from kcomp.data.image_size import height_and_width
from kcomp.data.tables import Table
from kcomp.engine.devices import clear_session
from kcomp.engine.graph import bottlenecks
from kcomp.engine.precision import use_precision
from kcomp.experiment.build import build_batches, build_network
from kcomp.models.backbones import efficientnet_lite0
from kcomp.models.classifier import classifier
from kcomp.models.trainable import leaves
from kcomp.recipe import Loaded
from kcomp.system.errors import error_line
from kcomp.training.frozen.cut import NotCutError, cut, in_order

MOST_PIXELS = 256 * 256  # of an image for the recipe's own network; larger images take too long
LITE_SIZE = 160
BATCH = 32


class NetworkError(RuntimeError):
    """The recipe cannot build its network. The cause of this error is the recipe's own error."""


@dataclass(frozen=True)
class FrozenNetwork:
    """A network that computes features, and the batches of images that it takes.

    Attributes:
        network: Computes features from images, (batch, dimensions): first features of an inner layer, then features
            below the head.
        top: Computes only the features below the head.
        batches: Function from a table to batches without augmentation.
        fingerprint: A hash of the recipe. Empty without a recipe.
        description: One sentence about the network, for the page.
        pretrained: Whether the network has pretrained weights.
    """

    network: keras.Model
    top: keras.Model
    batches: Callable[[Table], Batches]
    fingerprint: str
    description: str
    pretrained: bool

    @property
    def parts(self) -> tuple[int, int]:
        """The number of features from the inner layer, and the number of features from below the head."""
        top = int(self.top.output_shape[1])
        return int(self.network.output_shape[1]) - top, top


def choose_network(loaded: Loaded | None, table: Table) -> FrozenNetwork:
    """Choose the network that computes the features of a data set.

    This is the recipe's own network if it is pretrained and takes images of at most 256 x 256 px. Otherwise, it is
    EfficientNet-Lite0 with ImageNet weights or, if these are not installed, the recipe's own network.

    Args:
        loaded: The recipe, or None.
        table: The labelled rows of the recipe.

    Raises:
        NetworkError: If the recipe cannot build its network.
        ModuleNotFoundError: If there is no recipe and the ImageNet weights are not installed.
    """
    own = None if loaded is None else recipe_network(loaded, table)
    if own is not None and own.pretrained and count_pixels(own.batches(table)) <= MOST_PIXELS:
        return own
    try:
        return lite_network()
    except ModuleNotFoundError:
        if own is None:
            raise
        return own


def recipe_network(loaded: Loaded, table: Table) -> FrozenNetwork | None:
    """Return the recipe's network without its head, or None if the head cannot be separated.

    The network is built with two seeds. Weights that are equal with both seeds are pretrained.
    """
    recipe, target = loaded.recipe, table.required_target.fitted(table.labels)
    clear_session()
    try:
        whole = build_network(recipe, target, seed=1)
    except Exception as error:
        raise NetworkError(error_line(error)) from error
    other = without_head(whole)
    if other is None:
        return None
    other_kernels = kernels(other)
    clear_session()
    network = without_head(build_network(recipe, target, seed=0))
    assert network is not None  # as with the other seed
    equal = [np.array_equal(first, second) for first, second in zip(kernels(network), other_kernels, strict=True)]
    pretrained = sum(equal) > len(equal) / 2
    weights = "its pretrained weights" if pretrained else "random weights, which makes them weak"
    return FrozenNetwork(
        with_inner_layer(network),
        network,
        lambda rows: build_batches(recipe, rows, training=False, seed=0),
        loaded.fingerprint(),
        f"The features are from the recipe's own network without its head, with {weights}.",
        pretrained,
    )


def lite_network() -> FrozenNetwork:
    """Return EfficientNet-Lite0 with ImageNet weights. Raise ModuleNotFoundError if these are not installed."""
    clear_session()
    use_precision("float32")
    network = without_head(classifier(efficientnet_lite0(LITE_SIZE), 1))
    assert network is not None  # it is functional
    return FrozenNetwork(
        with_inner_layer(network),
        network,
        lambda rows: Batches(rows, LITE_SIZE, batch_size=BATCH),
        "",
        f"The features are from EfficientNet-Lite0 with ImageNet weights, for images of {LITE_SIZE} x {LITE_SIZE} px.",
        True,
    )


def without_head(network: keras.Model) -> keras.Model | None:
    """Return the layers before the last layer with weights. Outputs are averaged over the positions in the image.

    Return None if the network cannot be divided.
    """
    network.trainable = False
    [layer for _, layer in leaves(network) if layer.weights][-1].trainable = True
    try:
        frozen, _ = cut(network)
    except NotCutError:
        return None
    axes = tuple(range(1, len(frozen.output.shape) - 1))
    return keras.Model(frozen.input, keras.ops.mean(frozen.output, axes), name=frozen.name) if axes else frozen


def with_inner_layer(network: keras.Model) -> keras.Model:
    """Return a network whose outputs are features of an inner layer, followed by the outputs of `network`.

    The inner layer is the last one before the last downsampling. Return `network` itself if it has no such layer.
    """
    maps = [tensor for _, tensor in bottlenecks(in_order(network), network.outputs) if len(tensor.shape) == 4]
    sizes = {tuple(tensor.shape[1:3]): tensor for tensor in maps}
    if len(sizes) < 2:
        return network
    inner = keras.ops.mean(list(sizes.values())[-2], (1, 2))
    return keras.Model(network.input, keras.ops.concatenate([inner, network.output], 1), name=network.name)


def kernels(network: keras.Model) -> list[np.ndarray]:
    """Return the weights with at least two axes, which excludes biases."""
    return [keras.ops.convert_to_numpy(weight.value) for weight in network.weights if len(weight.shape) > 1]


def count_pixels(batches: Batches) -> int:
    height, width = height_and_width(batches.image_size)
    return height * width
