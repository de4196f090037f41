"""What makes two features the same: hashes of the frozen part, of the pipeline before it, and of an image's source."""

import hashlib
import importlib.metadata
import json
from typing import Any

import cv2
import keras
import numpy as np

from kcomp.data.batches import Batches
from kcomp.data.images import Images, identity_of
from kcomp.data.tables import Image
from kcomp.engine.precision import precision_in_use
from kcomp.jax_programs.network_key import cache_key_of_network
from kcomp.system.code_version import code_version
from kcomp.training.manifest import device


def features_key(frozen: keras.Model, batches: Batches, fingerprint: str) -> str:
    """Return 32 hexadecimal digits of all that features depend on, beside the image and the number of its draw.

    These are the values and the architecture of `frozen`, backend, device and precision, the pipeline of `batches`
    (its seed where it draws), and versions. What cannot be described from outside, such as a layer or a transform of
    the recipe's own, is taken as the recipe's `fingerprint`, so that any change to the recipe computes anew.
    """
    about = {
        "versions": [
            code_version(),
            keras.__version__,
            importlib.metadata.version("albumentations"),
            cv2.__version__,
        ],
        "backend": [keras.backend.backend(), device()],
        "precision": precision_in_use(),
        "architecture": cache_key_of_network(frozen) or fingerprint,
        # what cannot be described may hang on all that a recipe's batches() is told, its rows too
        "pipeline": pipeline(batches) or [fingerprint, batches.training, batches.table.fingerprint()],
        "size": batches.image_size,
        "seed": batches.seed if draws(batches) else None,
    }
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for weight in frozen.weights:
        found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value)).tobytes())
    return found.hexdigest()[:32]


def draws(batches: Batches) -> bool:
    """Whether an image may look different in another epoch."""
    return batches.transform is not None or type(batches) is not Batches


def pipeline(batches: Batches) -> str | None:
    """How an image is decoded and transformed, or None where it cannot be told from outside."""
    images = batches.images
    if type(batches) is not Batches or type(images) is not Images:
        return None
    if batches.transform is None:
        return images.settings
    import albumentations  # here alone: a recipe without transforms does not wait for it

    try:
        text = json.dumps([images.settings, albumentations.to_dict(batches.transform)], sort_keys=True)
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # another library's, or with functions in it
        return None
    return text if albumentations_only(json.loads(text)) else None


def albumentations_only(described: Any) -> bool:
    """Whether every class in albumentations' own description is its own: it writes those without their module."""
    if isinstance(described, dict):
        own = described.get("__class_fullname__", "")
        return "." not in own and own != "Lambda" and all(map(albumentations_only, described.values()))
    return not isinstance(described, list) or all(map(albumentations_only, described))


def identity(image: Image) -> str:
    """What tells whether an image is still the same: what data.images knows of it, else a hash of its pixels."""
    known = identity_of(image)
    if known is not None:
        return known
    pixels = np.ascontiguousarray(image() if callable(image) else image)
    return f"{pixels.shape} {pixels.dtype} {hashlib.sha256(pixels.tobytes()).hexdigest()}"
