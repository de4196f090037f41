"""Choose which layers of a network are trained."""

import difflib
import re
from collections.abc import Iterator, Sequence

import keras
from keras import layers

KEYWORDS = {"all": r".*", "head": r"head(/.*)?"}
WORDS = r"[A-Za-z_][A-Za-z0-9_]+"  # finds parts of layer names in a regular expression


def set_trainable(model: keras.Model, train: str | Sequence[str], *, train_batch_norm: bool = False) -> list[str]:
    """Make the chosen layers trainable, and freeze the others.

    The path of a layer is its name, or "inner/layer" for a layer in an inner model. Compile the model afterwards with a
    new optimizer, because Keras reads the trainable weights when it compiles.

    Args:
        model: The model to change.
        train: Which layers to train. "all" means all layers, and "head" the layer or inner model named head. A list
            has paths of layers or inner models. Any other text is a regular expression, which must match the whole
            path of a layer. In "a|b", each of "a" and "b" must match at least one layer.
        train_batch_norm: Whether to train chosen batch normalisation layers too, and update their statistics. If
            False, all batch normalisation layers are frozen.

    Returns:
        The paths of the trained layers that have weights.

    Raises:
        ValueError: If no layer with weights is chosen, or if a name in a list, or an alternative in a regular
            expression, matches no layer.

    Examples:
        >>> from kcomp import models
        >>> network = models.classifier(models.efficientnet_lite0(64, weights=None), 2)
        >>> models.set_trainable(network, "head|top.*")
        ['top_conv', 'head']
        >>> models.set_trainable(network, ["head"])
        ['head']
    """
    paths = list(leaves(model))
    pattern = pattern_of(train, [path for path, _ in paths])
    matched = [path for path, _ in paths if re.fullmatch(pattern, path)]
    frozen = [path for path, layer in paths if isinstance(layer, layers.BatchNormalization) and not train_batch_norm]
    trained = [path for path, layer in paths if path in matched and path not in frozen and layer.weights]
    if not trained:
        raise ValueError(no_match(train, matched, [path for path, layer in paths if layer.weights]))
    if isinstance(train, str):
        check_alternatives(train, [path for path, _ in paths])
    model.trainable = True
    for path, layer in paths:
        layer.trainable = path in matched and path not in frozen
    return trained


def pattern_of(train: str | Sequence[str], paths: Sequence[str]) -> str:
    """Return a regular expression that matches the paths of the layers to train.

    Raise ValueError if `train` is a list and one of its names is neither a layer nor an inner model.
    """
    if isinstance(train, str):
        return KEYWORDS.get(train, train)
    for name in train:
        if not any(path == name or path.startswith(f"{name}/") for path in paths):
            raise ValueError(f"train={list(train)!r}: the network has no layer {name!r}; {nearest([name], paths)}")
    return "|".join(f"{re.escape(name)}(/.*)?" for name in train)


def check_alternatives(pattern: str, paths: Sequence[str]) -> None:
    """Raise ValueError if an alternative of a regular expression, such as "a" in "a|b", matches no path."""
    if pattern in KEYWORDS:
        return
    flags = re.match(r"\(\?[aimsux]+\)", pattern)
    for number, part in enumerate(alternatives(pattern)):
        expression = f"{flags[0]}{part}" if flags and number else part
        try:
            matches = any(re.fullmatch(expression, path) for path in paths)
        except re.error:  # the alternative refers to a group in another one
            continue
        if not matches:
            words = re.findall(WORDS, part)
            raise ValueError(f"train={pattern!r}: the alternative {part!r} matches no layer; {nearest(words, paths)}")


def alternatives(pattern: str) -> list[str]:
    """Return the alternatives of a regular expression, such as ["a", "b"] for "a|b". Bars in groups do not count."""
    tokens = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL)
    parts, depth = [""], 0
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if token == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield (path, layer) for each layer of a model and of its inner models. Inner models are not yielded.

    The path is the layer's name, or "inner/layer" for a layer in an inner model.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def no_match(train: str | Sequence[str], matched: Sequence[str], paths: Sequence[str]) -> str:
    if matched:
        return f"train={train!r} matches only layers without trainable weights: {matched[:5]}"
    words = re.findall(WORDS, train if isinstance(train, str) else " ".join(train))
    return f"train={train!r} matches no layer; {nearest(words, paths)}"


def nearest(words: Sequence[str], paths: Sequence[str]) -> str:
    """Return a hint for an error message: the path most similar to one of the words, or two example paths."""
    close = [name for word in words for name in difflib.get_close_matches(word, paths, 1)]
    if close:
        return f"did you mean {close[0]!r}?"
    return f"names are such as {paths[0]!r} and {paths[-1]!r}; `kcomp layers RECIPE` prints all"
