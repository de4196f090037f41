"""Rebuild keras-hub's vision transformers from their blocks, so that each block is a layer of the network.

In keras-hub, one layer has all blocks of a transformer. kcomp trains, freezes and caches whole layers.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kcomp.models.presets.embedding import EmbedTokens, resize_positions


@dataclass(frozen=True)
class Parts:
    """The parts of a vision transformer.

    Attributes:
        patches: The convolution that embeds patches.
        tokens: The tokens in front (1, count, channels), such as the class token.
        positions: The learned positions of patches (1, patches, channels), or None.
        grid: How many rows and columns of patches have positions.
        antialias: Whether positions are resized with antialiasing.
        dropout: The rate of dropout after the embedding.
        blocks: The transformer blocks.
        norm: The normalisation after the last block.
    """

    patches: keras.layers.Conv2D
    tokens: np.ndarray
    positions: np.ndarray | None
    grid: tuple[int, int]
    antialias: bool
    dropout: float
    blocks: list[keras.layers.Layer]
    norm: keras.layers.Layer


class FirstOutput(layers.Layer):
    """Call a layer that returns several values, such as a block of DeiT, and return the first."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__()
        self.layer = layer

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs)[0]

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def is_transformer(backbone: keras.Model) -> bool:
    """Return whether a backbone of keras-hub can be rebuilt from its blocks."""
    return type(backbone).__name__ in FAMILIES


def transformer_parts(backbone: keras.Model) -> Parts:
    return FAMILIES[type(backbone).__name__](backbone)


def vit_parts(backbone: keras.Model) -> Parts:
    embedding, encoder = backbone.get_layer("vit_patching_and_embedding"), backbone.get_layer("vit_encoder")
    positions = as_array(embedding.position_embedding.embeddings)[None]
    count = int(embedding.use_class_token)
    token = as_array(embedding.class_token) if count else positions[:, :0]
    return Parts(
        embedding.patch_embedding,
        token + positions[:, :count],
        positions[:, count:],
        grid_of(backbone.image_shape, embedding.patch_embedding),
        True,
        encoder.dropout_rate,
        encoder.encoder_layers,
        encoder.layer_norm,
    )


def deit_parts(backbone: keras.Model) -> Parts:
    embedding, encoder = backbone.get_layer("deit_patching_and_embedding"), backbone.get_layer("deit_encoder")
    positions = as_array(embedding.position_embedding)
    tokens = np.concatenate([as_array(embedding.class_token), as_array(embedding.distillation_token)], axis=1)
    return Parts(
        embedding.patch_embedding,
        tokens + positions[:, :2],
        positions[:, 2:],
        grid_of(backbone.image_shape, embedding.patch_embedding),
        True,
        embedding.dropout_rate,
        [FirstOutput(block) for block in encoder.encoder_layers],
        encoder.layer_norm,
    )


def dinov2_parts(backbone: keras.Model) -> Parts:
    embedding = backbone.embeddings
    positions = as_array(embedding.position_embeddings)
    tokens = [as_array(embedding.cls_token) + positions[:, :1], *registers(embedding)]
    return Parts(
        embedding.patch_embeddings.projection,
        np.concatenate(tokens, axis=1),
        positions[:, 1:],
        grid_of(backbone.position_embedding_shape, embedding.patch_embeddings.projection),
        embedding.antialias_in_interpolation,
        embedding.dropout_rate,
        backbone.encoder.layers,
        backbone.layernorm,
    )


def dinov3_parts(backbone: keras.Model) -> Parts:
    embedding = backbone.embeddings
    tokens = np.concatenate([as_array(embedding.cls_token), *registers(embedding)], axis=1)
    blocks, norm = backbone.encoder.layers, backbone.layernorm
    return Parts(embedding.patch_embeddings.projection, tokens, None, (0, 0), False, 0.0, blocks, norm)


FAMILIES = {
    "ViTBackbone": vit_parts,
    "DeiTBackbone": deit_parts,
    "DINOV2Backbone": dinov2_parts,
    "DINOV3Backbone": dinov3_parts,
}


def grid_of(shape: Any, patches: keras.layers.Conv2D) -> tuple[int, int]:
    """Return how many rows and columns of patches an image of this shape (height, width, channels) has."""
    return shape[0] // patches.kernel_size[0], shape[1] // patches.kernel_size[1]


def registers(embedding: Any) -> list[np.ndarray]:
    return [as_array(embedding.register_tokens)] if embedding.num_register_tokens else []


def as_array(weight: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(weight))


def apply_blocks(parts: Parts, backbone: keras.Model, images: Any) -> Any:
    """Return the tokens (batch, tokens, channels) that a transformer computes from normalised images of any size.

    Args:
        parts: The parts of the transformer.
        backbone: The backbone that they are from.
        images: A tensor (batch, height, width, channels) of a network under construction.

    Raises:
        ValueError: If a side of the images is no multiple of the patch size.
    """
    size, patch = tuple(images.shape[1:3]), tuple(parts.patches.kernel_size)
    if any(side % step for side, step in zip(size, patch, strict=True)):
        raise ValueError(f"{backbone.name} takes images whose sides are multiples of {patch[0]} px; received {size}")
    name_layers(parts)
    embed = EmbedTokens(parts.tokens.shape[1], has_positions=parts.positions is not None, name="embedding")
    x = embed(parts.patches(images))
    if embed.first_tokens:
        embed.tokens.assign(parts.tokens)
    if parts.positions is not None:
        grid = grid_of(size, parts.patches)
        embed.positions.assign(resize_positions(parts.positions, parts.grid, grid, antialias=parts.antialias))
    if parts.dropout:
        x = layers.Dropout(parts.dropout, name="embedding_dropout")(x)
    options = {}
    if parts.positions is None:  # positions enter each block as angles
        options = {"position_embeddings": backbone.rope_embedding(images), "num_prefix_tokens": embed.first_tokens}
    for block in parts.blocks:
        x = block(x, **options)
    return parts.norm(x)


def name_layers(parts: Parts) -> None:
    """Give the layers of all families the same names."""
    parts.patches.name, parts.norm.name = "patch_embedding", "norm"
    for number, block in enumerate(parts.blocks, 1):
        block.name = f"block_{number}"
