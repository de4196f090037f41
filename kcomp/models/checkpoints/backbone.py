"""Build a backbone from a checkpoint of timm."""

from pathlib import Path
from typing import Any

import keras
from keras import layers

from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.fast.install import install
from kcomp.models import pretrained
from kcomp.models.checkpoints.convert import load_checkpoint
from kcomp.models.checkpoints.files import checkpoint_file
from kcomp.models.checkpoints.known import known_checkpoint
from kcomp.models.checkpoints.network import build_network, cut_head, drop_path_option
from kcomp.models.pretrained_head import PretrainedHead


def timm(
    name: str,
    image_size: ImageSize | None = None,
    *,
    file: str | Path | None = None,
    weights: str | None = "pretrained",
    drop_path: float = 0.0,
    **options: Any,
) -> keras.Model:
    """Build a backbone from a checkpoint of timm, converted by zeromodels (extra `timm-weights`).

    The network takes images (batch, height, width, 3) in 0..255, and normalises them with the checkpoint's mean and
    standard deviation. The first call with a file converts it to a file in the cache folder. There kcomp compares the
    logits of two random images with those of timm, if timm is installed. Without timm, only networks are accepted that
    were compared before, with random weights.

    Args:
        name: timm's name of the checkpoint, such as "convnext_tiny.fb_in22k_ft_in1k".
        image_size: The size of the images in pixels: one number for a square, or (height, width). None for the size
            that the checkpoint was trained with. Networks with attention in windows take few other sizes.
        file: The checkpoint's file: .safetensors, or a PyTorch file of weights. It may be a file of your own training
            with timm, with any number of classes. None fetches the file from the Hugging Face hub once.
        weights: "pretrained", or None for random weights without a file.
        drop_path: Rate of stochastic depth in the last block, from 0 to below 1 (Huang et al. 2016), for ConvNeXt,
            ConvNeXtV2, Swin and other families that have it. It falls to 0 in the first block.
        **options: Further arguments of zeromodels' network.

    Returns:
        A model whose output is a feature map (batch, height, width, channels), or tokens (batch, tokens, channels).
        `classifier` takes both.

    Raises:
        ValueError: If the name is unknown, the file does not fit, the logits are not those of timm, or the network has
            no stochastic depth.
        FileNotFoundError: If `file` does not exist.
        ConnectionError: If the hub cannot be reached.
        ModuleNotFoundError: If zeromodels is not installed.
        TypeError: If the network has no such option.

    Examples:
        >>> from kcomp import models
        >>> backbone = models.timm("convnext_atto.d2_in1k", 64, weights=None)
        >>> backbone.output_shape
        (None, 2, 2, 320)
    """
    if weights not in ("pretrained", None):
        raise ValueError(f'weights is "pretrained" or None; received {weights!r}. Pass a path as file=')
    checkpoint = known_checkpoint(name)
    size = checkpoint.size if image_size is None else height_and_width(image_size)
    install()
    if drop_path:
        options |= {drop_path_option(checkpoint.family): drop_path}

    def build(classes: int) -> keras.Model:
        return build_network(checkpoint, size, classes=classes, **options)

    if weights is None or pretrained.skipping():
        network = build(classes=1)
    else:
        network = load_checkpoint(checkpoint, checkpoint_file(name, file), build)
    cut = cut_head(network)
    inputs = keras.Input((*size, 3), name="images")
    scale = [1 / (255 * deviation) for deviation in checkpoint.std]
    offset = [-mean / deviation for mean, deviation in zip(checkpoint.mean, checkpoint.std, strict=True)]
    scaled = layers.Rescaling(scale, offset, name="rescaling")(inputs)
    features = keras.Model(network.input, cut.features).call(scaled)
    backbone = keras.Model(inputs, features, name=name.replace(".", "_"))
    backbone.pretrained_head = PretrainedHead(cut.first_tokens, cut.after_pooling)
    return backbone
