"""AugMix as a transform of albumentations."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import albumentations as A
import numpy as np
from PIL import Image

from kcomp.augment.operations import SIGNED, apply_operation, as_pillow, as_pixels

# The paper leaves out colour, contrast, brightness and sharpness, because its test images are changed in these ways.
OPERATIONS = (
    *("AutoContrast", "Equalize", "Posterize", "Rotate", "Solarize"),
    *("ShearX", "ShearY", "TranslateX", "TranslateY"),
)


class Chains(NamedTuple):
    """The random choices of AugMix for one image.

    Attributes:
        chains: The operations of each chain, each with its magnitude.
        weights: The weight of each chain. The weights sum to 1.
        blend: The weight of the averaged chains, 0 to 1. The original image has the weight 1 - blend.
    """

    chains: Sequence[Sequence[tuple[str, float]]]
    weights: np.ndarray
    blend: float


class AugMix(A.ImageOnlyTransform):
    """Mix each image with an average of randomly changed copies (Hendrycks et al. 2020, AugMix, algorithm 1).

    Each copy goes through a chain of one to three operations. The copies are averaged with weights from a Dirichlet
    distribution, and the average is mixed with the image by a weight from a Beta distribution. Operations and
    magnitudes are those of the paper. The paper's consistency loss is not part of the transform.

    The transform works on uint8 images with 1 or 3 channels, and not on masks and boxes.

    Args:
        severity: Largest level of an operation, above 0 and at most 10. Levels are drawn uniformly from
            0.1 to `severity`.
        width: How many chains are averaged, from 1.
        alpha: Parameter of the Dirichlet and the Beta distribution, above 0.
        p: Probability that an image is changed, 0 to 1.

    Raises:
        ValueError: If an argument is out of range, or an image has another type.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> transform = augment.AugMix(severity=3)
        >>> transform(image=np.zeros((32, 32, 3), np.uint8))["image"].shape
        (32, 32, 3)
    """

    def __init__(self, severity: float = 3, width: int = 3, *, alpha: float = 1.0, p: float = 1.0) -> None:
        super().__init__(p=p)
        if not 0 < severity <= 10 or width < 1 or not alpha > 0:
            raise ValueError(
                "AugMix needs a severity above 0 and at most 10, a width from 1 and alpha above 0; "
                f"received {severity}, {width} and {alpha}"
            )
        self.severity, self.width, self.alpha = severity, width, alpha

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        return {"mixing": self.draw(*params["shape"][:2])}

    def draw(self, height: int, width: int) -> Chains:
        draws = self.random_generator
        weights = draws.dirichlet([self.alpha] * self.width)
        blend = float(draws.beta(self.alpha, self.alpha))
        chains = []
        for _ in range(self.width):
            names = [OPERATIONS[number] for number in draws.integers(len(OPERATIONS), size=draws.integers(1, 4))]
            chains.append([(name, self.magnitude(name, height, width)) for name in names])
        return Chains(chains, weights, blend)

    def magnitude(self, name: str, height: int, width: int) -> float:
        level = self.random_generator.uniform(min(0.1, self.severity), self.severity) / 10
        sign = -1 if name in SIGNED and self.random_generator.random() < 0.5 else 1
        if name == "Posterize":
            return max(4 - int(level * 4), 1)
        if name == "Solarize":
            return 256 - int(level * 256)
        if name == "Rotate":
            return sign * int(level * 30)
        largest = {"ShearX": 0.3, "ShearY": 0.3, "TranslateX": width / 3, "TranslateY": height / 3}
        return sign * level * largest.get(name, 0.0)

    def apply(self, img: np.ndarray, mixing: Chains, **params: Any) -> np.ndarray:
        mixed = np.zeros(img.shape, np.float32)
        for chain, weight in zip(mixing.chains, mixing.weights, strict=True):
            image = as_pillow(img)
            for name, magnitude in chain:
                image = apply_operation(image, name, magnitude, resampling=Image.Resampling.BILINEAR)
            mixed += np.float32(weight) * as_pixels(image)
        blend = np.float32(mixing.blend)
        return np.rint((1 - blend) * img + blend * mixed).clip(0, 255).astype(np.uint8)
