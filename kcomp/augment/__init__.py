"""Augmentation: transforms of single images, and layers that mix or erase the images of a batch.

**Transforms** of albumentations change one image on the host: the presets `light`, `medium` and `heavy`, the policies
`AutoAugment`, `RandAugment`, `TrivialAugment` and `AugMix`, `LocalWarp`, `PCAColour` and `Augraphy`. Pass a preset, or
a Compose of transforms, as `transform` to `data.Batches`, which seeds it for each image. Both backends get the same
images.

**Layers** of Keras mix or erase the images of a batch: `MixUp`, `CutMix`, `Switch`, `Mosaic` and `RandomErasing`. A
layer has two methods. `draw` makes all random choices for a batch with a NumPy generator. It returns them as a plan:
small arrays with one row for each sample. `call` applies a plan to the batch, without weights or random numbers. Both
backends therefore compute the same images. In training, kcomp calls `draw` and passes the plans with the images. In a
notebook, call a layer with a seed: `MixUp(0.2)({"images": images, "labels": labels}, seed=1)`.
"""

from typing import TYPE_CHECKING

from kcomp.system.lazy import lazy_names

if TYPE_CHECKING:
    from kcomp.augment.augmix import AugMix
    from kcomp.augment.colour import PCAColour, colour_components
    from kcomp.augment.documents import Augraphy
    from kcomp.augment.erasing import RandomErasing
    from kcomp.augment.mixing import CutMix, MixUp, Switch
    from kcomp.augment.mosaic import Mosaic
    from kcomp.augment.policies import AutoAugment, RandAugment, TrivialAugment
    from kcomp.augment.presets import heavy, light, medium
    from kcomp.augment.warping import LocalWarp

__all__ = [
    "AugMix",
    "Augraphy",
    "AutoAugment",
    "CutMix",
    "LocalWarp",
    "MixUp",
    "Mosaic",
    "PCAColour",
    "RandAugment",
    "RandomErasing",
    "Switch",
    "TrivialAugment",
    "colour_components",
    "heavy",
    "light",
    "medium",
]

MODULES = {  # imported at their first use: transforms need no Keras, and layers need no albumentations
    "AugMix": "kcomp.augment.augmix",
    "Augraphy": "kcomp.augment.documents",
    "AutoAugment": "kcomp.augment.policies",
    "CutMix": "kcomp.augment.mixing",
    "LocalWarp": "kcomp.augment.warping",
    "MixUp": "kcomp.augment.mixing",
    "Mosaic": "kcomp.augment.mosaic",
    "PCAColour": "kcomp.augment.colour",
    "RandAugment": "kcomp.augment.policies",
    "RandomErasing": "kcomp.augment.erasing",
    "Switch": "kcomp.augment.mixing",
    "TrivialAugment": "kcomp.augment.policies",
    "colour_components": "kcomp.augment.colour",
    "heavy": "kcomp.augment.presets",
    "light": "kcomp.augment.presets",
    "medium": "kcomp.augment.presets",
}

__getattr__, __dir__ = lazy_names(__name__, MODULES)
