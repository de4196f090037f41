"""The measurements of one image, and of many images."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class ImageFacts:
    """Measurements of one image. If the image cannot be read, `problem` says why, and pixel measurements are NaN or 0.

    Attributes:
        path: The path of the file. Empty for an image that is not a file.
        problem: Why the image cannot be used, or what is damaged. Empty for a good image.
        size_bytes: The size of the encoded file in bytes. 0 for an array.
        modified: The modification time of the file in seconds since 1970. NaN if it is not a file.
        width: The width in pixels, after the EXIF rotation.
        height: The height in pixels, after the EXIF rotation.
        format: The format of the content, such as "JPEG". Empty for an array.
        mode: Pillow's name of the channels and their type, such as "RGB", "L", "P" or "I;16".
        bits: Bits of each channel.
        orientation: The EXIF orientation, 1 to 8. It is 1 for an upright image, and for an image without EXIF data.
        photo_time: The EXIF time of the photograph in seconds since 1970. NaN if there is none.
        frames: The number of frames, above 1 for an animation.
        quantization: The mean of the luminance quantization table of a JPEG, which falls with rising quality. 0 for
            other formats.
        brightness: The mean grey value, 0 to 255.
        contrast: The standard deviation of the grey values.
        low: The 1st percentile of the grey values.
        high: The 99th percentile of the grey values.
        sharpness: The variance of the Laplacian (Pech-Pacheco et al. 2000), after scaling the image to a common size.
        noise: The standard deviation of the noise in grey values; see `noise_deviation`.
        red: The mean of the red channel, 0 to 255.
        green: The mean of the green channel, 0 to 255.
        blue: The mean of the blue channel, 0 to 255.
        bytes_hash: A hash of the encoded bytes. Empty for an array.
        pixels_hash: A hash of the shape and the decoded pixels. Empty if they cannot be decoded.
        hashes: Perceptual hashes of 64 bits: of the image first, and of its 7 other rotations and mirror images. 0
            without pixels.
    """

    path: str
    problem: str
    size_bytes: int
    modified: float
    width: int
    height: int
    format: str
    mode: str
    bits: int
    orientation: int
    photo_time: float
    frames: int
    quantization: float
    brightness: float
    contrast: float
    low: float
    high: float
    sharpness: float
    noise: float
    red: float
    green: float
    blue: float
    bytes_hash: str
    pixels_hash: str
    hashes: tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """Measurements of many images, one array for each attribute of `ImageFacts`.

    The arrays have the shape (images,), but `hashes` is uint64 (images, 8). Texts are arrays of objects.
    """

    path: np.ndarray
    problem: np.ndarray
    size_bytes: np.ndarray
    modified: np.ndarray
    width: np.ndarray
    height: np.ndarray
    format: np.ndarray
    mode: np.ndarray
    bits: np.ndarray
    orientation: np.ndarray
    photo_time: np.ndarray
    frames: np.ndarray
    quantization: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sharpness: np.ndarray
    noise: np.ndarray
    red: np.ndarray
    green: np.ndarray
    blue: np.ndarray
    bytes_hash: np.ndarray
    pixels_hash: np.ndarray
    hashes: np.ndarray

    def __len__(self) -> int:
        return len(self.path)

    @classmethod
    def of(cls, images: Sequence[ImageFacts]) -> Self:
        """Join the measurements of several images into arrays."""
        columns = {field.name: [getattr(image, field.name) for image in images] for field in dataclasses.fields(cls)}
        arrays = {name: np.array(values, dtype=object if texts(values) else None) for name, values in columns.items()}
        hashes = np.array(columns["hashes"], np.uint64).reshape(len(images), 8)
        return cls(**arrays | {"hashes": hashes})

    def rows(self, positions: np.ndarray) -> Self:
        """Return the measurements of some images, by an array of positions or a boolean mask."""
        fields = dataclasses.fields(self)
        return dataclasses.replace(self, **{field.name: getattr(self, field.name)[positions] for field in fields})

    def joined(self, other: Self) -> Self:
        """Return the measurements of these images, followed by the measurements in `other`."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in vars(self)}
        return dataclasses.replace(self, **{name: np.concatenate(pair) for name, pair in pairs.items()})

    @property
    def readable(self) -> np.ndarray:
        """Whether each image could be decoded, bool (images,)."""
        return self.pixels_hash != ""


def texts(values: Sequence[object]) -> bool:
    return bool(values) and isinstance(values[0], str)
