"""Build a classifier on a backbone, and choose its trainable layers."""

import difflib
import re
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import layers

from kcomp.fast.install import install
from kcomp.models import pretrained
from kcomp.targets import Target


def classifier(
    backbone: keras.Model,
    target: Target | int,
    *,
    dropout: float = 0.2,
    imagenet_classes: Sequence[int] | None = None,
) -> keras.Model:
    """Put a classification head on a backbone: global average pooling, dropout, a dense layer named "head".

    The backbone's layers become layers of the new model, so that their names are their paths. The dense layer starts
    at zero, because the few updates of a small competition do not unlearn random weights.

    Args:
        backbone: A model whose output is one feature map (batch, height, width, channels).
        target: What the competition asks for, such as `targets.OneOf(classes)`, or the number of outputs, from 1.
        dropout: Share of dropped features, from 0 to below 1.
        imagenet_classes: If the classes are ImageNet classes, the number (0 to 999) of each. The head then starts as
            these columns of the ImageNet head of an EfficientNet-Lite. None starts at zero.

    Returns:
        A model that returns float32 logits (batch, target.outputs) under any precision.

    Raises:
        ValueError: If there is no output, the backbone has another output, or `imagenet_classes` does not fit.

    References:
        Kolesnikov et al. 2020, Big Transfer, for the head that starts at zero.

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
    if len(backbone.outputs) != 1 or len(backbone.outputs[0].shape) != 4:
        raise ValueError(
            "a backbone must end in one feature map (batch, height, width, channels); "
            f"received {[output.shape for output in backbone.outputs]}"
        )
    install()
    x = layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)
    x = layers.Dropout(dropout, name="head_dropout")(x)
    head = layers.Dense(count, kernel_initializer="zeros", dtype="float32", name="head")
    model = keras.Model(backbone.input, head(x), name=f"{backbone.name}_classifier")
    if imagenet_classes is not None and not pretrained.skipping():
        head.set_weights(imagenet_columns(backbone, count, imagenet_classes))
    return model


def imagenet_columns(backbone: keras.Model, count: int, numbers: Sequence[int]) -> list[np.ndarray]:
    """Return kernel (features, count) and bias (count,) of these classes of the backbone's ImageNet head."""
    head = getattr(backbone, "imagenet_head", None)
    if head is None:
        raise ValueError("imagenet_classes needs an EfficientNet-Lite backbone with ImageNet weights")
    if len(numbers) != count or not all(0 <= number < head[1].size for number in numbers):
        raise ValueError(f"imagenet_classes takes one number from 0 to {head[1].size - 1} a class; received {numbers}")
    return [array[..., list(numbers)] for array in head]


def set_trainable(model: keras.Model, pattern: str, *, train_batch_norm: bool = False) -> list[str]:
    """Train the layers whose path matches a pattern, and freeze the others.

    Compile the model afterwards with a new optimizer, because Keras fixes the trainable weights at that point.

    Args:
        model: The model to change.
        pattern: A regular expression that must match the whole path of a layer. The path of a layer in an inner model
            is "inner/layer".
        train_batch_norm: Whether to train matching batch normalisation layers and update their statistics. If False,
            they stay frozen.

    Returns:
        The paths of the trained layers that have weights.

    Raises:
        ValueError: If the pattern matches no layer with weights.

    Examples:
        >>> from kcomp import models
        >>> network = models.classifier(models.efficientnet_lite0(64, weights=None), 2)
        >>> models.set_trainable(network, "head|top.*")
        ['top_conv', 'head']
    """
    paths = list(leaves(model))
    matched = [path for path, _ in paths if re.fullmatch(pattern, path)]
    frozen = [path for path, layer in paths if isinstance(layer, layers.BatchNormalization) and not train_batch_norm]
    trained = [path for path, layer in paths if path in matched and path not in frozen and layer.weights]
    if not trained:
        raise ValueError(no_match(pattern, matched, [path for path, layer in paths if layer.weights]))
    model.trainable = True
    for path, layer in paths:
        layer.trainable = path in matched and path not in frozen
    return trained


def leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the path and the layer of every layer that is not a model."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def no_match(pattern: str, matched: list[str], paths: list[str]) -> str:
    if matched:
        return f"trainable={pattern!r} matches only layers without weights of their own to train: {matched[:5]}"
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]+", pattern)
    close = [name for word in words for name in difflib.get_close_matches(word, paths, 1)]
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else f"paths are such as {paths[0]!r}, {paths[len(paths) // 2]!r}, {paths[-1]!r}"
    )
    return f"trainable={pattern!r} matches no layer; {hint}"
