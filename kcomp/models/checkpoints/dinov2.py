"""DINOv2's vision transformers with a head, from the layers of zeromodels, and their weights from timm's files.

References: Oquab et al. 2023, DINOv2; Darcet et al. 2024, Vision transformers need registers.
"""

import re
from collections.abc import Mapping

import keras
import numpy as np
from keras import layers
from zeromodels.models.vit.vit_layers import ViTAddPositionEmbs, ViTClassDistToken
from zeromodels.models.vit.vit_model import transformer_block

from kcomp.models.checkpoints.tokens import RegisterTokens

PATCH = 14  # pixels
WIDTHS = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16), "giant": (1536, 40, 24)}
DINOV2_MODEL_CONFIG = {
    f"vit_{name}_patch14_{registers}dinov2": {
        "width": width,
        "depth": depth,
        "heads": heads,
        "registers": 4 if registers else 0,
        "gated": name == "giant",
    }
    for name, (width, depth, heads) in WIDTHS.items()
    for registers in ("", "reg4_")
}

# What a layer's name becomes in timm's files
NAMES = (
    (r"conv1", "patch_embed.proj"),
    (r"blocks_(\d+)_layernorm_(\d)", r"blocks.\1.norm\2"),
    (r"blocks_(\d+)_layerscale_(\d)", r"blocks.\1.ls\2"),
    (r"blocks_(\d+)_attn_(\w+)", r"blocks.\1.attn.\2"),
    (r"blocks_(\d+)_(dense_1|weights_in)", r"blocks.\1.mlp.fc1"),
    (r"blocks_(\d+)_(dense_2|weights_out)", r"blocks.\1.mlp.fc2"),
    (r"final_layernorm", "norm"),
    (r"predictions", "head"),
)


class DinoV2ImageClassify(keras.Model):
    """A vision transformer of DINOv2. It takes normalised images, and returns logits from the class token.

    Args:
        width: Channels of a token.
        depth: The number of transformer blocks.
        heads: Heads of the attention.
        registers: The number of register tokens. With registers, only patches have position embeddings.
        gated: Whether the dense layers of a block are gated (SwiGLU).
        image_size: Height and width of the images in pixels, multiples of 14.
        num_classes: The number of logits.

    Raises:
        ValueError: If a side of the images is no multiple of 14.
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        heads: int,
        registers: int,
        gated: bool,
        image_size: tuple[int, int],
        num_classes: int,
    ) -> None:
        if image_size[0] % PATCH or image_size[1] % PATCH:
            raise ValueError(f"DINOv2 takes images whose sides are multiples of {PATCH} px; received {image_size}")
        inputs = keras.Input((*image_size, 3))
        x = layers.Conv2D(width, PATCH, PATCH, name="conv1")(inputs)
        rows, columns = x.shape[1:3]
        x = layers.Reshape((-1, width))(x)
        positions = ViTAddPositionEmbs(rows, columns, no_embed_class=registers > 0, name="pos_embed")
        if registers:
            x = RegisterTokens(registers, name="reg_token")(positions(x))
        x = ViTClassDistToken(name="cls_token")(x)
        x = x if registers else positions(x)
        for number in range(depth):
            x = transformer_block(
                x, width, heads, qkv_bias=True, block_idx=number, layer_scale_init=1e-5, use_swiglu=gated
            )
        x = layers.LayerNormalization(epsilon=1e-6, name="final_layernorm")(x)
        logits = layers.Dense(num_classes, name="predictions")(x[:, 0])
        super().__init__(inputs, logits)


def transfer_dinov2_weights(network: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Set the weights of a network from timm's arrays. Raise KeyError or ValueError if one does not fit."""
    for weight in network.weights:
        layer, kind = weight.path.split("/")[-2:]
        array = arrays[timm_name(layer, kind)]
        if kind == "kernel":
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        weight.assign(array)


def timm_name(layer: str, kind: str) -> str:
    """Return the name that a weight has in timm's files, such as "blocks.0.norm1.weight"."""
    for pattern, name in NAMES:
        match = re.fullmatch(pattern, layer)
        if match:
            ending = "gamma" if "layerscale" in layer else "bias" if kind in ("bias", "beta") else "weight"
            return f"{match.expand(name)}.{ending}"
    return layer  # a token or the position embeddings
