"""The published tables of AutoAugment, and the magnitude of each operation at each level."""

from typing import NamedTuple


class PolicyStep(NamedTuple):
    """An operation of a sub-policy.

    Attributes:
        operation: The name of the operation.
        probability: Probability that the operation is applied.
        level: Index of the magnitude, 0 to 9. None for an operation without a magnitude.
    """

    operation: str
    probability: float
    level: int | None


# A line is a sub-policy: two steps, each an operation, its probability and its level (Cubuk et al. 2019, appendix).
TABLES = {
    "imagenet": """
        Posterize 0.4 8     | Rotate 0.6 9
        Solarize 0.6 5      | AutoContrast 0.6 -
        Equalize 0.8 -      | Equalize 0.6 -
        Posterize 0.6 7     | Posterize 0.6 6
        Equalize 0.4 -      | Solarize 0.2 4
        Equalize 0.4 -      | Rotate 0.8 8
        Solarize 0.6 3      | Equalize 0.6 -
        Posterize 0.8 5     | Equalize 1.0 -
        Rotate 0.2 3        | Solarize 0.6 8
        Equalize 0.6 -      | Posterize 0.4 6
        Rotate 0.8 8        | Color 0.4 0
        Rotate 0.4 9        | Equalize 0.6 -
        Equalize 0.0 -      | Equalize 0.8 -
        Invert 0.6 -        | Equalize 1.0 -
        Color 0.6 4         | Contrast 1.0 8
        Rotate 0.8 8        | Color 1.0 2
        Color 0.8 8         | Solarize 0.8 7
        Sharpness 0.4 7     | Invert 0.6 -
        ShearX 0.6 5        | Equalize 1.0 -
        Color 0.4 0         | Equalize 0.6 -
        Equalize 0.4 -      | Solarize 0.2 4
        Solarize 0.6 5      | AutoContrast 0.6 -
        Invert 0.6 -        | Equalize 1.0 -
        Color 0.6 4         | Contrast 1.0 8
        Equalize 0.8 -      | Equalize 0.6 -
    """,
    "cifar10": """
        Invert 0.1 -        | Contrast 0.2 6
        Rotate 0.7 2        | TranslateX 0.3 9
        Sharpness 0.8 1     | Sharpness 0.9 3
        ShearY 0.5 8        | TranslateY 0.7 9
        AutoContrast 0.5 -  | Equalize 0.9 -
        ShearY 0.2 7        | Posterize 0.3 7
        Color 0.4 3         | Brightness 0.6 7
        Sharpness 0.3 9     | Brightness 0.7 9
        Equalize 0.6 -      | Equalize 0.5 -
        Contrast 0.6 7      | Sharpness 0.6 5
        Color 0.7 7         | TranslateX 0.5 8
        Equalize 0.3 -      | AutoContrast 0.4 -
        TranslateY 0.4 3    | Sharpness 0.2 6
        Brightness 0.9 6    | Color 0.2 8
        Solarize 0.5 2      | Invert 0.0 -
        Equalize 0.2 -      | AutoContrast 0.6 -
        Equalize 0.2 -      | Equalize 0.6 -
        Color 0.9 9         | Equalize 0.6 -
        AutoContrast 0.8 -  | Solarize 0.2 8
        Brightness 0.1 3    | Color 0.7 0
        Solarize 0.4 5      | AutoContrast 0.9 -
        TranslateY 0.9 9    | TranslateY 0.7 9
        AutoContrast 0.9 -  | Solarize 0.8 3
        Equalize 0.8 -      | Invert 0.1 -
        TranslateY 0.7 9    | AutoContrast 0.9 -
    """,
    "svhn": """
        ShearX 0.9 4        | Invert 0.2 -
        ShearY 0.9 8        | Invert 0.7 -
        Equalize 0.6 -      | Solarize 0.6 6
        Invert 0.9 -        | Equalize 0.6 -
        Equalize 0.6 -      | Rotate 0.9 3
        ShearX 0.9 4        | AutoContrast 0.8 -
        ShearY 0.9 8        | Invert 0.4 -
        ShearY 0.9 5        | Solarize 0.2 6
        Invert 0.9 -        | AutoContrast 0.8 -
        Equalize 0.6 -      | Rotate 0.9 3
        ShearX 0.9 4        | Solarize 0.3 3
        ShearY 0.8 8        | Invert 0.7 -
        Equalize 0.9 -      | TranslateY 0.6 6
        Invert 0.9 -        | Equalize 0.6 -
        Contrast 0.3 3      | Rotate 0.8 4
        Invert 0.8 -        | TranslateY 0.0 2
        ShearY 0.7 6        | Solarize 0.4 8
        Invert 0.6 -        | Rotate 0.8 4
        ShearY 0.3 7        | TranslateX 0.9 3
        ShearX 0.1 6        | Invert 0.6 -
        Solarize 0.7 2      | TranslateY 0.6 7
        ShearY 0.8 4        | Invert 0.8 -
        ShearX 0.7 9        | TranslateY 0.8 3
        ShearY 0.8 5        | AutoContrast 0.7 -
        ShearX 0.7 2        | Invert 0.1 -
    """,
}


def read_table(name: str) -> tuple[tuple[PolicyStep, PolicyStep], ...]:
    """Return the sub-policies of a table. Raise ValueError for an unknown name."""
    if name not in TABLES:
        raise ValueError(f"AutoAugment has the policies {', '.join(TABLES)}; received {name!r}")
    lines = TABLES[name].strip().splitlines()
    return tuple((read_step(first), read_step(second)) for first, second in (line.split("|") for line in lines))


def read_step(text: str) -> PolicyStep:
    operation, probability, level = text.split()
    return PolicyStep(operation, float(probability), None if level == "-" else int(level))


def magnitude_at(operation: str, strength: float, width: int, height: int) -> float:
    """Return the magnitude of an operation in the search space of AutoAugment, without a sign.

    Args:
        operation: The name of the operation.
        strength: The level divided by the largest level, 0 to 1. 0 is the weakest magnitude.
        width: Width of the image in pixels. Images move by up to 150 / 331 of a side, as in the paper.
        height: Height of the image in pixels.
    """
    largest = {"ShearX": 0.3, "ShearY": 0.3, "Rotate": 30.0}
    largest |= {"TranslateX": 150 / 331 * width, "TranslateY": 150 / 331 * height}
    return scaled(operation, strength, largest, enhancing=0.9, bits=4)


def wide_magnitude_at(operation: str, strength: float) -> float:
    """Return the magnitude of an operation in the wide search space of TrivialAugment.

    `strength` is from 0 for the weakest to 1 for the strongest magnitude.
    """
    largest = {"ShearX": 0.99, "ShearY": 0.99, "Rotate": 135.0, "TranslateX": 32.0, "TranslateY": 32.0}
    return scaled(operation, strength, largest, enhancing=0.99, bits=6)


def scaled(operation: str, strength: float, largest: dict[str, float], *, enhancing: float, bits: int) -> float:
    """Return the magnitude of an operation at a strength from 0 to 1.

    Args:
        operation: The name of the operation.
        strength: 0 for the weakest magnitude, 1 for the strongest.
        largest: The strongest magnitude of each geometric operation.
        enhancing: The strongest magnitude of brightness, colour, contrast and sharpness.
        bits: How many of the eight bits the strongest posterizing removes.
    """
    if operation in largest:
        return strength * largest[operation]
    if operation in ("Brightness", "Color", "Contrast", "Sharpness"):
        return strength * enhancing
    if operation == "Posterize":
        return 8 - round(strength * bits)
    return 255 * (1 - strength) if operation == "Solarize" else 0.0
