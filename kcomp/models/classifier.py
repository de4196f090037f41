"""A classifier on a backbone, and which of its layers are trained."""

import difflib
import re
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import layers

from kcomp.fast.install import install
from kcomp.models import pretrained


def classifier(
    backbone: keras.Model,
    classes: int | Sequence[str],
    *,
    dropout: float = 0.2,
    imagenet_classes: Sequence[int] | None = None,
) -> keras.Model:
    """Put a head on a backbone: average over the feature map, dropout (a share from 0 to below 1), a dense layer.

    `classes` is their number or their names. The output is float32 logits (batch, classes) under any precision. The
    backbone's layers become the model's own, so their names are their paths; the dense layer is called "head".

    The head starts at zero (Kolesnikov et al. 2020, Big Transfer): random weights on 1,280 features are noise that the
    few updates of a small competition do not unlearn. Where your classes are classes of ImageNet, `imagenet_classes`
    gives the number (0 to 999) of each, and the head starts as those columns of the ImageNet head (EfficientNet-Lite).
    """
    count = classes if isinstance(classes, int) else len(classes)
    if count < 2:
        raise ValueError(f"a classifier needs at least two classes; received {count}")
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
    """Kernel (features, count) and bias (count,) of these classes of the backbone's ImageNet head."""
    kept = getattr(backbone, "imagenet_head", None)
    if kept is None:
        raise ValueError("imagenet_classes needs an EfficientNet-Lite backbone with ImageNet weights")
    if len(numbers) != count or not all(0 <= number < kept[1].size for number in numbers):
        raise ValueError(f"imagenet_classes takes one number from 0 to {kept[1].size - 1} a class; received {numbers}")
    return [array[..., list(numbers)] for array in kept]


def set_trainable(model: keras.Model, pattern: str, *, train_batch_norm: bool = False) -> list[str]:
    """Train the layers whose whole path matches `pattern`, a regular expression, and freeze the others.

    A layer inside an inner model has the path "inner/layer". Batch normalisation stays frozen, statistics included,
    unless `train_batch_norm`. Returns the paths of the trained layers that have weights; ValueError where there are
    none. Compile the model afterwards, with a new optimizer: Keras fixes both at that point.
    """
    found = list(leaves(model))
    matched = [path for path, _ in found if re.fullmatch(pattern, path)]
    frozen = [path for path, layer in found if isinstance(layer, layers.BatchNormalization) and not train_batch_norm]
    trained = [path for path, layer in found if path in matched and path not in frozen and layer.weights]
    if not trained:
        raise ValueError(no_match(pattern, matched, [path for path, layer in found if layer.weights]))
    model.trainable = True
    for path, layer in found:
        layer.trainable = path in matched and path not in frozen
    return trained


def leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Every layer that is not a model itself, with its path."""
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
