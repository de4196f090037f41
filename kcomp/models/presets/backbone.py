"""Build a backbone from a preset of keras-hub."""

import inspect
from pathlib import Path
from typing import Any

import keras
from keras import layers

from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.fast.install import install
from kcomp.models import pretrained
from kcomp.models.layer_names import number_names
from kcomp.models.presets.files import download_errors, find_preset, import_keras_hub
from kcomp.models.presets.preprocessing import load_converter
from kcomp.models.presets.transformers import apply_blocks, is_transformer, transformer_parts
from kcomp.models.pretrained_head import PretrainedHead


def hub(
    preset: str | Path,
    image_size: ImageSize,
    *,
    weights: str | None = "pretrained",
    **options: Any,
) -> keras.Model:
    """Build a backbone from a preset of keras-hub (extra `hub`), such as a ViT, DINOv2 or ResNet.

    The network takes images (batch, height, width, channels) in 0..255, and scales them as the preset's image
    converter does. Each block of ViT, DeiT, DINOv2 and DINOv3 is a layer. Their position embeddings are resized.

    Args:
        preset: The name of a preset of keras-hub, such as "vit_base_patch16_224_imagenet"; a handle with "kaggle://" or
            "hf://"; or a folder with the preset's files. Names and handles are downloaded once.
        image_size: The size of the images in pixels: one number for a square, or (height, width).
        weights: "pretrained", or None for random weights. Both need config.json and image_converter.json.
        **options: Further arguments of keras-hub's backbone, such as `dropout_rate` of a ViT. `drop_path_rate` must be
            0: DINOv2 and DINOv3 of keras-hub 0.32.0 multiply by random numbers whose mean is not 1.

    Returns:
        A model whose output is a feature map (batch, height, width, channels), or tokens (batch, tokens, channels).
        `classifier` takes both.

    Raises:
        ValueError: If there is no preset of this name, it has no image converter, it is not for images, or an argument
            is out of range.
        FileNotFoundError: If a file is missing in the folder.
        ConnectionError: If the preset cannot be downloaded. The message says which files to get.
        ModuleNotFoundError: If keras-hub is not installed.
        TypeError: If the backbone has no such option.

    Examples:
        >>> import keras_hub, tempfile
        >>> from kcomp import models
        >>> folder = tempfile.mkdtemp()  # a preset of your own, with random weights
        >>> sizes = dict(patch_size=16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
        >>> keras_hub.models.ViTBackbone((64, 64, 3), **sizes).save_to_preset(folder)
        >>> keras_hub.layers.ViTImageConverter((64, 64), scale=1 / 255).save_to_preset(folder)
        >>> models.hub(folder, (32, 64)).output_shape  # 2 x 4 patches and the class token
        (None, 9, 8)
    """
    if weights not in ("pretrained", None):
        raise ValueError(f'weights is "pretrained" or None; received {weights!r}. Pass a folder as the preset')
    install()
    load_weights = weights is not None and not pretrained.skipping()
    handle = find_preset(preset, weights if load_weights else None)
    converter = load_converter(handle)
    size = height_and_width(image_size)
    native = load_backbone(handle, size, load_weights=load_weights, options=options)
    inputs = keras.Input((*size, native.image_shape[-1]), name="images")
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    scaled = layers.Rescaling(scale, offset, name="rescaling")(inputs)
    features, first_tokens = apply_backbone(native, scaled)
    backbone = keras.Model(inputs, features, name=Path(handle).name.replace(".", "_"))
    backbone.pretrained_head = PretrainedHead(first_tokens)
    return backbone


def load_backbone(handle: str, size: tuple[int, int], *, load_weights: bool, options: dict[str, Any]) -> keras.Model:
    """Return the backbone of a preset. Transformers that kcomp rebuilds keep the image size of the preset.

    Raises:
        ValueError: If it is not for images, or `drop_path_rate` is not 0.
        ConnectionError: If the preset cannot be downloaded.
        TypeError: If the backbone has no such option.
    """
    from_preset = import_keras_hub().models.Backbone.from_preset
    with download_errors(handle):
        native = from_preset(handle, load_weights=False)
    kind, shape = type(native).__name__, getattr(native, "image_shape", None)
    if shape is None:
        raise ValueError(f"the preset {handle} is a {kind}, which is no backbone for images")
    unknown = set(options) - set(inspect.signature(type(native).__init__).parameters) | {"image_shape"} & set(options)
    if unknown:
        raise TypeError(f"{kind} has no argument {', '.join(sorted(unknown))}")
    if options.get("drop_path_rate"):
        raise ValueError(f"{kind} of keras-hub has no correct stochastic depth; leave out drop_path_rate")
    resized = {} if is_transformer(native) else {"image_shape": (*size, shape[-1])}
    with download_errors(handle):
        network: keras.Model = from_preset(handle, load_weights=load_weights, **options, **resized)
    return network


def apply_backbone(native: keras.Model, images: Any) -> tuple[Any, int]:
    """Return what a backbone computes from normalised images, and how many tokens belong to no part of the image."""
    if is_transformer(native):
        parts = transformer_parts(native)
        return apply_blocks(parts, native, images), parts.tokens.shape[1]
    number_names(native)
    output = native.output
    if isinstance(output, dict):  # several feature maps, of which the last is the smallest
        output = list(output.values())[-1]
    return keras.Model(native.inputs[0], output).call(images), 0
