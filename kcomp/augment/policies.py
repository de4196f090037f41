"""AutoAugment, RandAugment and TrivialAugment as transforms of albumentations."""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import numpy as np

from kcomp.augment.operations import SIGNED, apply_operation, as_pillow, as_pixels
from kcomp.augment.policy_tables import magnitude_at, read_table, wide_magnitude_at

# The search space of RandAugment and TrivialAugment.
OPERATIONS = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"),
    *("Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
LEVELS = 31  # magnitudes of RandAugment and TrivialAugment

Operations = Sequence[tuple[str, float]]  # names of operations, each with its magnitude


class Policy(A.ImageOnlyTransform):
    """The base class of the policies. A subclass draws the operations in `draw`, and `apply` applies them."""

    def __init__(self, *, fill: int = 0, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.fill = fill

    def draw(self, height: int, width: int) -> Operations:
        """Draw the operations of one image, each with its magnitude."""
        raise NotImplementedError

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        return {"operations": self.draw(*params["shape"][:2])}

    def apply(self, img: np.ndarray, operations: Operations = (), **params: Any) -> np.ndarray:
        image = as_pillow(img)
        for name, magnitude in operations:
            image = apply_operation(image, name, magnitude, fill=self.fill)
        return as_pixels(image)

    def with_sign(self, name: str, magnitude: float) -> float:
        """Return `magnitude`. If the operation has a direction, negate it with probability 0.5."""
        return -magnitude if name in SIGNED and self.random_generator.random() < 0.5 else magnitude


class AutoAugment(Policy):
    """Apply one of the 25 learned sub-policies of AutoAugment to each image (Cubuk et al. 2019, AutoAugment).

    A sub-policy has two operations. Each is applied with its own probability. The magnitudes are those of torchvision:
    the ten levels of brightness, colour, contrast and sharpness are the factors 1 to 1.9, or 1 to 0.1.

    The transform works on uint8 images with 1 or 3 channels, and not on masks and boxes.

    Args:
        policy: The data set on which the policy was learned: "imagenet", "cifar10" or "svhn". The policy "svhn" does
            not change what a digit shows, and therefore suits characters.
        fill: Grey level of pixels that come from outside of the image, 0 to 255.
        p: Probability that an image is changed, 0 to 1.

    Raises:
        ValueError: If the policy is unknown, or an image has another type.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> transform = augment.AutoAugment("imagenet")
        >>> transform(image=np.zeros((32, 32, 3), np.uint8))["image"].shape
        (32, 32, 3)
    """

    def __init__(self, policy: str = "imagenet", *, fill: int = 0, p: float = 1.0) -> None:
        super().__init__(fill=fill, p=p)
        self.policy, self.steps = policy, read_table(policy)

    def draw(self, height: int, width: int) -> Operations:
        operations = []
        for name, probability, level in self.steps[self.random_generator.integers(len(self.steps))]:
            is_applied = self.random_generator.random() < probability
            magnitude = self.with_sign(name, magnitude_at(name, (level or 0) / 9, width, height))
            if is_applied:
                operations.append((name, magnitude))
        return operations


class RandAugment(Policy):
    """Apply random operations with one common strength to each image (Cubuk et al. 2020, RandAugment).

    The 14 operations are those of the paper. The transform works on uint8 images with 1 or 3 channels, and not on
    masks and boxes.

    Args:
        operations: How many operations each image gets, from 1. An operation may be drawn more than once.
        magnitude: The strength, 0 to 30.
        fill: Grey level of pixels that come from outside of the image, 0 to 255.
        p: Probability that an image is changed, 0 to 1.

    Raises:
        ValueError: If an argument is out of range, or an image has another type.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> transform = augment.RandAugment(2, 9)
        >>> transform(image=np.zeros((32, 32, 3), np.uint8))["image"].shape
        (32, 32, 3)
    """

    def __init__(self, operations: int = 2, magnitude: int = 9, *, fill: int = 0, p: float = 1.0) -> None:
        super().__init__(fill=fill, p=p)
        if operations < 1 or not 0 <= magnitude < LEVELS:
            raise ValueError(
                f"RandAugment needs operations from 1 and a magnitude from 0 to {LEVELS - 1}; "
                f"received {operations} and {magnitude}"
            )
        self.operations, self.magnitude = operations, magnitude

    def draw(self, height: int, width: int) -> Operations:
        names = [OPERATIONS[number] for number in self.random_generator.integers(len(OPERATIONS), size=self.operations)]
        strength = self.magnitude / (LEVELS - 1)
        return [(name, self.with_sign(name, magnitude_at(name, strength, width, height))) for name in names]


class TrivialAugment(Policy):
    """Apply one random operation of a random strength to each image (Müller and Hutter 2021, TrivialAugment).

    Operations and magnitudes are those of the paper's wide search space. The transform works on uint8 images with 1 or
    3 channels, and not on masks and boxes.

    Args:
        fill: Grey level of pixels that come from outside of the image, 0 to 255.
        p: Probability that an image is changed, 0 to 1.

    Raises:
        ValueError: If an image has another type.

    Examples:
        >>> import numpy as np
        >>> from kcomp import augment
        >>> transform = augment.TrivialAugment()
        >>> transform(image=np.zeros((32, 32, 3), np.uint8))["image"].shape
        (32, 32, 3)
    """

    def __init__(self, *, fill: int = 0, p: float = 1.0) -> None:
        super().__init__(fill=fill, p=p)

    def draw(self, height: int, width: int) -> Operations:
        name = OPERATIONS[self.random_generator.integers(len(OPERATIONS))]
        strength = int(self.random_generator.integers(LEVELS)) / (LEVELS - 1)
        return [(name, self.with_sign(name, wide_magnitude_at(name, strength)))]
