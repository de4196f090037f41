"""Attention rollout: which patches of an image a transformer's attention layers read (Abnar and Zuidema 2020)."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops

from kcomp.explain.heat.flat import FlatNetwork, layers_in, run

MOST_OTHER_TOKENS = 8  # a class token, a distillation token, up to four registers; few enough to tell from patches

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Rollout:
    """Computes the attention rollout of a transformer.

    Attributes:
        network: The layer calls of the network.
        layers: The attention layers of the network.
        maps: Sizes (rows, columns) of the feature maps before the first attention layer. In the last map, a position
            may be a patch.
    """

    network: FlatNetwork
    layers: tuple[Any, ...]
    maps: tuple[Shape, ...]

    @property
    def key(self) -> list[Any]:
        """The part of a cache key that describes how `compute` works."""
        return ["rollout", self.maps]

    def compute(self, images: Any, columns: Any) -> Any:
        """Return heat maps, float32 (batch, rows, columns), which are the same for all outputs of the network.

        Args:
            images: A float tensor, as the network takes it.
            columns: Not used.

        Raises:
            ValueError: If a layer does not attend from all tokens to all tokens, or the tokens do not form a grid of
                patches.
        """
        values = self.network.initial_values(images)
        height, width = images.shape[1:3]
        with record_scores(self.layers) as scores:
            run(self.network.split(self.network.result)[0], values)
        shapes = [tuple(weights.shape) for weights in scores]
        tokens = shapes[-1][-1]
        if any(shape[0] != images.shape[0] or shape[-2:] != (tokens, tokens) for shape in shapes):
            raise ValueError(
                "attention rollout needs layers that attend from all tokens of an image to all of them; received "
                f"attention scores of shapes {sorted(set(shapes))}. Name a layer that returns a feature map: layer=NAME"
            )
        grid = patch_grid(tokens, self.maps, (height, width))
        if grid is None:
            raise ValueError(
                f"attention rollout needs tokens that are a grid of image patches, and at most {MOST_OTHER_TOKENS} "
                f"others; received {tokens} tokens for an image of {height} x {width}"
            )
        return patch_heat(rollout(scores), grid)


def has_scores(layer: Any) -> bool:
    return "return_attention_scores" in inspect.signature(layer.call).parameters


def attention_layers(network: FlatNetwork, needed: set[int]) -> dict[int, list[Any]]:
    """Return lists of attention layers, by the number of the layer call that contains them.

    A custom layer may contain several attention layers. Calls without attention layers are left out, and so are calls
    whose outputs are not in `needed`, which has tensor numbers.
    """
    layers = {}
    for number, step in enumerate(network.calls):
        attention = [layer for layer in layers_in(step) if has_scores(layer)]
        inner = [layer for layer in attention if not any(map(has_scores, layer._flatten_layers(include_self=False)))]
        if inner and needed.intersection(step.outputs):
            layers[number] = inner
    return layers


@contextlib.contextmanager
def record_scores(layers: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield a list that records attention scores in a `with` block.

    Each call of a layer in `layers` appends its scores (batch, heads, tokens, tokens).
    """
    scores: list[Any] = []
    for layer in layers:
        vars(layer)["call"] = recording(layer.call, scores)
    try:
        yield scores
    finally:
        for layer in layers:
            del vars(layer)["call"]


def recording(call: Callable[..., Any], scores: list[Any]) -> Callable[..., Any]:
    """Return a function like `call`, the method of an attention layer, that also appends its scores to `scores`."""

    @functools.wraps(call)
    def call_and_record(*arguments: Any, return_attention_scores: bool = False, **keywords: Any) -> Any:
        output, weights = call(*arguments, return_attention_scores=True, **keywords)
        scores.append(weights)
        return (output, weights) if return_attention_scores else output

    return call_and_record


def rollout(scores: Sequence[Any]) -> Any:
    """Return how much each token of the last layer depends on each token of the first, (batch, tokens, tokens).

    The result is the product of (attention + identity) / 2 over the layers. The identity stands for the skip
    connection.

    Args:
        scores: The attention scores of each layer in order, (batch, heads, tokens, tokens), or (batch, tokens, tokens)
            for a layer with one head. Each row of scores sums to 1.

    References:
        Abnar and Zuidema 2020, Quantifying attention flow in transformers, section 3.
    """
    product = None
    for weights in scores:
        weights = ops.cast(weights, "float32")
        mean = ops.mean(weights, axis=1) if len(weights.shape) == 4 else weights
        matrix = mean + ops.eye(mean.shape[-1], dtype="float32")
        matrix = matrix / ops.sum(matrix, axis=-1, keepdims=True)
        product = matrix if product is None else ops.matmul(matrix, product)
    return product


def patch_heat(matrix: Any, grid: tuple[int, int]) -> Any:
    """Return how much the network's output depends on each image patch, (batch, rows, columns).

    If the first token is a class token, its row of the rollout is used. Otherwise, the mean over all rows is used.

    Args:
        matrix: The rollout, (batch, tokens, tokens).
        grid: The number of rows and the number of columns of patches.
    """
    others = matrix.shape[-1] - grid[0] * grid[1]
    row = matrix[:, 0] if others else ops.mean(matrix, axis=1)
    return ops.reshape(row[:, others:], (-1, *grid))


def patch_grid(tokens: int, maps: Sequence[Shape], image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the (rows, columns) of a transformer's grid of image patches, or None if no grid fits.

    Up to MOST_OTHER_TOKENS tokens may be something else than a patch, such as a class token.

    Args:
        tokens: The number of tokens.
        maps: Sizes (rows, columns) of the feature maps before the first attention layer.
        image_size: (height, width) of the images.
    """
    for rows, columns in reversed(maps):
        if rows and columns and 0 <= tokens - rows * columns <= MOST_OTHER_TOKENS:
            return rows, columns
    height, width = image_size
    for others in range(MOST_OTHER_TOKENS + 1):
        for rows in range(1, tokens - others + 1):
            columns, rest = divmod(tokens - others, rows)
            if not rest and height % rows == 0 and width % columns == 0 and height // rows == width // columns:
                return rows, columns
    return None
