"""Augraphy's pipelines for photos and scans of documents, as a transform of albumentations."""

from collections.abc import Callable
from typing import Any

import albumentations as A
import numpy as np

from kcomp.data.global_seeds import global_seed


class Augraphy(A.ImageOnlyTransform):
    """Apply a pipeline of Augraphy, which makes clean documents look printed, worn, photographed or scanned.

    Augraphy draws from the global generators of Python and NumPy. The transform seeds them for each image. Only one
    thread at a time can do this, so more threads do not make it faster. The transform works on uint8 images, and not on
    masks and boxes.

    Args:
        pipeline: An `augraphy.AugraphyPipeline`, or one augmentation of Augraphy. It must not change the size.
        p: Probability that an image is changed, 0 to 1.

    Raises:
        ValueError: If `pipeline` cannot be called, or it changes the size of an image.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> darken = augment.Augraphy(lambda image: image // 2)  # in place of a pipeline of Augraphy
        >>> int(darken(image=np.full((8, 8, 3), 200, np.uint8))["image"].max())
        100
    """

    def __init__(self, pipeline: Callable[[np.ndarray], Any], *, p: float = 1.0) -> None:
        super().__init__(p=p)
        if not callable(pipeline):
            raise ValueError(f"Augraphy needs a pipeline such as augraphy.AugraphyPipeline(); received {pipeline!r}")
        self.pipeline = pipeline

    def get_params(self) -> dict[str, Any]:
        return {"seed": int(self.random_generator.integers(2**32))}

    def apply(self, img: np.ndarray, seed: int = 0, **params: Any) -> np.ndarray:
        with global_seed(seed):
            result = np.asarray(self.pipeline(img.copy()))
        if result.ndim == 2:  # some augmentations return grey images
            result = np.repeat(result[..., None], img.shape[2], 2)
        if result.shape != img.shape:
            raise ValueError(f"the pipeline changed an image of shape {img.shape} to {result.shape}")
        return result.astype(np.uint8, copy=False)
