"""Build a classifier: a backbone with a new classification head."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from kcomp.fast.install import install
from kcomp.models import pretrained
from kcomp.models.arcface import ArcFaceHead, CosineLogits
from kcomp.models.coral import SharedWeights
from kcomp.models.pooling import pool_features
from kcomp.models.sample_dropout import MultiSampleDropout
from kcomp.targets import Grades, OneOf, Target


def classifier(
    backbone: keras.Model,
    target: Target | int,
    *,
    pool: str | None = None,
    dropout: float = 0.2,
    dropout_samples: int = 1,
    head: str | ArcFaceHead = "dense",
    imagenet_classes: Sequence[int] | None = None,
) -> keras.Model:
    """Put a classification head on a backbone: pooling, dropout, a layer named "head".

    The backbone's layers become layers of the new model, so `set_trainable` finds them by their plain names. The layer
    starts at zero, because training on a small data set has too few updates to overcome random weights. Only the head
    of ArcFace starts with random weights, because it compares directions.

    Args:
        backbone: A model whose output is one feature map (batch, height, width, channels), or tokens (batch, tokens,
            channels). Layers that a backbone of `models.timm` applies to pooled features are kept.
        target: The target of the competition, such as `targets.OneOf(classes)`, or the number of outputs, from 1.
        pool: How the features of an image become one vector: "average", "maximum", "both" (the two side by side), "gem"
            (the generalized mean, with a learned exponent), or "token" (the class token of a transformer). None takes
            the class token if there is one, and else the average.
        dropout: Share of dropped features, from 0 to below 1.
        dropout_samples: How many dropout masks a training step applies to the features of an image, from 1. The loss
            is the mean over the masks (Inoue 2019). More than 1 needs a recipe: plain `model.fit` does not know that
            the batch is repeated.
        head: The last layer: "dense"; "arcface" or an `ArcFaceHead`, for the loss `losses.ArcFace`; or "coral" for
            `Grades` with loss_name="ordinal", where all logits have the same weights and differ by a bias, so that the
            probabilities of higher levels are in order.
        imagenet_classes: For each class of the competition, its number among the ImageNet classes (0 to 999). The head
            then starts with the weights that the ImageNet head of an EfficientNet-Lite has for these classes. With
            None, the head starts at zero.

    Returns:
        A model that returns float32 logits (batch, target.outputs) under any precision.

    Raises:
        ValueError: If `target` has no output, the backbone does not return features, `pool` or `imagenet_classes` does
            not fit the backbone, `head` does not fit the target, or `dropout_samples` is out of range.

    References:
        Kolesnikov et al. 2020, Big Transfer, for the head that starts at zero; Radenović et al. 2018, equation 3, for
        the generalized mean; Inoue 2019 for `dropout_samples`; Cao et al. 2020 for CORAL; Deng et al. 2019 for ArcFace.

    Examples:
        >>> from kcomp import models, targets
        >>> backbone = models.efficientnet_lite0(64, weights=None)
        >>> network = models.classifier(backbone, targets.OneOf(("rust", "scab", "healthy")))
        >>> network.output_shape
        (None, 3)
    """
    count = target if isinstance(target, int) else target.outputs
    if count < 1:
        raise ValueError(f"a classifier needs at least one output; received {count}")
    if len(backbone.outputs) != 1 or len(backbone.outputs[0].shape) not in (3, 4):
        raise ValueError(
            "a backbone must end in one feature map (batch, height, width, channels), or in tokens (batch, tokens, "
            f"channels); received {[output.shape for output in backbone.outputs]}"
        )
    install()
    x = dropout_layer(dropout, dropout_samples)(pooled(backbone, pool))
    last = head_layer(head, target, count)
    model = keras.Model(backbone.input, last(x), name=f"{backbone.name}_classifier")
    if imagenet_classes is not None and head != "dense":
        raise ValueError(f"imagenet_classes needs head='dense'; received {head!r}")
    if imagenet_classes is not None and not pretrained.skipping():
        last.set_weights(imagenet_columns(backbone, count, imagenet_classes))
    return model


def dropout_layer(rate: float, samples: int) -> keras.layers.Layer:
    if samples < 1 or (samples > 1 and rate == 0):
        raise ValueError(
            f"dropout_samples must be at least 1, and with more than 1, dropout above 0; received {samples} and {rate}"
        )
    if samples > 1:
        return MultiSampleDropout(rate, samples, name="head_dropout")
    return layers.Dropout(rate, name="head_dropout")


def head_layer(kind: str | ArcFaceHead, target: Target | int, count: int) -> keras.layers.Layer:
    """Return the last layer of a classifier with `count` outputs. `kind` is the argument `head` of `classifier`."""
    if kind == "dense":
        return layers.Dense(count, kernel_initializer="zeros", dtype="float32", name="head")
    if kind == "arcface" or isinstance(kind, ArcFaceHead):
        if not isinstance(target, OneOf | int):
            raise ValueError(f"the head of ArcFace needs a target OneOf; received {target!r}")
        options = ArcFaceHead() if isinstance(kind, str) else kind
        return CosineLogits(count, options.scale, options.centres, dtype="float32", name="head")
    if kind != "coral":
        raise ValueError(f"head must be 'dense', 'coral', 'arcface' or an ArcFaceHead; received {kind!r}")
    if not isinstance(target, Grades) or target.loss_name != "ordinal":
        raise ValueError(f"head='coral' needs a target Grades with loss_name='ordinal'; received {target!r}")
    return SharedWeights(count, dtype="float32", name="head")


def pooled(backbone: keras.Model, kind: str | None) -> Any:
    """Return a backbone's pooled features (batch, channels). `kind` is an argument of `classifier`."""
    pretrained_head = getattr(backbone, "pretrained_head", None)
    first_tokens = pretrained_head.first_tokens if pretrained_head else 0
    vectors = pool_features(backbone.output, kind or ("token" if first_tokens else "average"), first_tokens)
    for layer in pretrained_head.after_pooling if pretrained_head else ():
        vectors = [layer(vector) for vector in vectors]
    return vectors[0] if len(vectors) == 1 else layers.Concatenate(name="head_concatenate")(vectors)


def imagenet_columns(backbone: keras.Model, count: int, numbers: Sequence[int]) -> list[np.ndarray]:
    """Return the weights that a backbone's ImageNet head has for some classes, as a list of two arrays.

    The arrays are the kernel (features, count) and the bias (count,).

    count:   how many classes the new head has.
    numbers: the number of each class among the ImageNet classes, 0 to 999.
    """
    head = getattr(backbone, "imagenet_head", None)
    if head is None:
        raise ValueError("imagenet_classes needs an EfficientNet-Lite backbone with ImageNet weights")
    if len(numbers) != count or not all(0 <= number < head[1].size for number in numbers):
        raise ValueError(f"imagenet_classes takes one number from 0 to {head[1].size - 1} a class; received {numbers}")
    return [array[..., list(numbers)] for array in head]
