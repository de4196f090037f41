"""How a preset of keras-hub prepares images."""

from pathlib import Path
from typing import Any

from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.data.images import Images
from kcomp.models.preprocessing import Preprocessing
from kcomp.models.presets.files import download_errors, find_preset, import_keras_hub

# keras-hub's interpolation and antialiasing, and kcomp's resampling
RESAMPLING = {
    ("bilinear", False): "linear",
    ("bilinear", True): "bilinear",
    ("bicubic", False): "bicubic",  # with antialiasing: kcomp has no other
    ("bicubic", True): "bicubic",
}


def hub_preprocessing(preset: str | Path, image_size: ImageSize | None = None) -> Preprocessing:
    """Return how a preset of keras-hub prepares images.

    Mean and standard deviation are not needed here, because the network of `models.hub` normalises its images.

    Args:
        preset: The preset, as for `models.hub`.
        image_size: The size of the network's images in pixels: one number for a square, or (height, width). None for
            the size of the preset's image converter.

    Returns:
        Arguments of `data.Batches`. `transform` is None.

    Raises:
        ValueError: If there is no such preset or image converter, or the converter pads images or resizes them in a
            way that kcomp does not have.
        FileNotFoundError: If a file is missing in the folder.
        ConnectionError: If the preset cannot be downloaded.
        ModuleNotFoundError: If keras-hub is not installed.

    Examples:
        >>> import keras_hub, tempfile
        >>> from kcomp import models
        >>> folder = tempfile.mkdtemp()  # a preset of your own
        >>> sizes = dict(patch_size=16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
        >>> keras_hub.models.ViTBackbone((64, 64, 3), **sizes).save_to_preset(folder)
        >>> keras_hub.layers.ViTImageConverter((64, 64), scale=1 / 255).save_to_preset(folder)
        >>> prepared = models.hub_preprocessing(folder)
        >>> prepared.image_size, prepared.images.fit, prepared.images.resampling
        ((64, 64), 'crop', 'linear')
    """
    converter = load_converter(find_preset(preset, None))
    size = converter.image_size if image_size is None else height_and_width(image_size)
    if size is None:
        raise ValueError(f"the preset {preset} takes images of any size; pass image_size")
    resampling = RESAMPLING.get((converter.interpolation, bool(converter.antialias)))
    if resampling is None or converter.pad_to_aspect_ratio:
        way = "padding" if converter.pad_to_aspect_ratio else f"interpolation={converter.interpolation!r}"
        raise ValueError(f"the image converter of {preset} resizes images with {way}, which kcomp does not have")
    images = Images(size, fit="crop" if converter.crop_to_aspect_ratio else "stretch", resampling=resampling)
    return Preprocessing(tuple(size), images, None)


def load_converter(handle: str) -> Any:
    """Return the image converter of a preset.

    Raises:
        ValueError: If it has none.
        ConnectionError: If the preset cannot be downloaded.
    """
    keras_hub = import_keras_hub()
    with download_errors(handle):
        try:
            converter = keras_hub.layers.ImageConverter.from_preset(handle)
        except FileNotFoundError:
            converter = None
    if converter is None:
        raise ValueError(
            f"the preset {handle} has no image_converter.json, so the scale of its images is unknown; write one with "
            "keras_hub.layers, such as ViTImageConverter((224, 224), scale=..., offset=...).save_to_preset(FOLDER)"
        )
    return converter
