"""Cache keys of features, which are the outputs of a frozen network."""

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
    """Return a hash, 32 hexadecimal digits, of everything that features depend on except the image.

    Features are the outputs of the network `frozen`. The hash covers:

    - weights and architecture of the network
    - backend, device, precision and versions of packages
    - how `batches` decodes and augments images, and its seed if the augmentation is random
    - `fingerprint`, the hash of the recipe, if the recipe's own code defines a layer or a transform
    """
    content = {
        "versions": [
            code_version(),
            keras.__version__,
            importlib.metadata.version("albumentations"),
            cv2.__version__,
        ],
        "backend": [keras.backend.backend(), device()],
        "precision": precision_in_use(),
        "architecture": cache_key_of_network(frozen) or fingerprint,
        # subclasses from the recipe may depend on every argument of its batches(), rows included
        "pipeline": pipeline(batches) or [fingerprint, batches.training, batches.table.fingerprint()],
        "size": batches.image_size,
        "seed": batches.seed if is_random(batches) else None,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for weight in frozen.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value)).tobytes())
    return digest.hexdigest()[:32]


def is_random(batches: Batches) -> bool:
    return batches.transform is not None or type(batches) is not Batches


def pipeline(batches: Batches) -> str | None:
    """Return a text that describes how `batches` decodes and augments images. None if kcomp cannot describe it."""
    images = batches.images
    if type(batches) is not Batches or type(images) is not Images:
        return None
    if batches.transform is None:
        return images.settings
    import albumentations  # slow to import, and not needed without transforms

    try:
        text = json.dumps([images.settings, albumentations.to_dict(batches.transform)], sort_keys=True)
    except (
        AttributeError,
        NotImplementedError,
        TypeError,
        ValueError,
    ):  # a transform of another library, or one with functions
        return None
    return text if known_classes_only(json.loads(text)) else None


def known_classes_only(described: Any) -> bool:
    """Return whether a description by `albumentations.to_dict` names only classes of albumentations and kcomp.augment.

    The features key has kcomp's code version, and therefore covers the code of kcomp.augment.
    """
    if isinstance(described, dict):
        name = described.get("__class_fullname__", "")  # outside of albumentations, it includes the module
        known = name != "Lambda" and ("." not in name or name.startswith("kcomp.augment."))
        return known and all(map(known_classes_only, described.values()))
    return not isinstance(described, list) or all(map(known_classes_only, described))


def identity(image: Image) -> str:
    """Return a text that identifies an image: its attribute `identity`, or a hash of its pixels."""
    stored = identity_of(image)
    if stored is not None:
        return stored
    pixels = np.ascontiguousarray(image() if callable(image) else image)
    return f"{pixels.shape} {pixels.dtype} {hashlib.sha256(pixels.tobytes()).hexdigest()}"
