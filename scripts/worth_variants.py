"""The variants of scripts/worth.py: which values of worth_recipes.py each of them changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kcomp.views import View, five_crops, left_right, plain, random, scales, symmetries, ten_crops

COMPETITIONS = ("ants-bees", "sign-digits", "cards")


@dataclass(frozen=True)
class Variant:
    """A change of the base recipe.

    Attributes:
        kind: The table of the page that lists the variant.
        name: A name that no other variant has.
        values: Values of the recipe to change, by name.
        views: The views that are averaged, for a variant that predicts with the weights of the base recipe.
        members: Names of variants whose predictions are averaged. Nothing is trained.
        seed_offset: Added to the seed. The fold stays the same.
        backend: "jax" or "torch".
        competitions: The competitions in which the variant differs from the base recipe.
    """

    kind: str
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    views: tuple[View, ...] = ()
    members: tuple[str, ...] = ()
    seed_offset: int = 0
    backend: str = "torch"
    competitions: tuple[str, ...] = COMPETITIONS


BASE = Variant("base", "base recipe")

# Within a kind, variants are in the order of the page. Kinds are trained in this order.
VARIANTS = [
    BASE,
    Variant("Chance and backend", "another seed", seed_offset=100),
    Variant("Chance and backend", "JAX instead of PyTorch", backend="jax"),
    Variant("Views", "2: flip left-right", views=(plain, left_right)),
    Variant("Views", "4: flips", views=tuple(symmetries()[:4])),
    Variant("Views", "8: symmetries", views=tuple(symmetries())),
    Variant("Views", "5: crops of 0.875", views=tuple(five_crops(0.875))),
    Variant("Views", "10: crops of 0.875 and their flips", views=tuple(ten_crops(0.875))),
    Variant("Views", "3: scales 0.75, 1 and 1.25", views=tuple(scales(0.75, 1.0, 1.25))),
    Variant("Views", "5: plain and 4 random", views=(plain, *random(4))),
    Variant("Views", "9: plain and 8 random", views=(plain, *random(8))),
    Variant("Views", "7: 7 random without plain", views=tuple(random(7))),
    Variant("Networks and image sizes", "EfficientNet-Lite1", {"network": "efficientnet_lite1"}),
    Variant("Networks and image sizes", "EfficientNet-Lite2", {"network": "efficientnet_lite2"}),
    Variant("Networks and image sizes", "images 1.5 times as wide", {"size_factor": 1.5}),
    Variant("Networks and image sizes", "images 0.75 times as wide", {"size_factor": 0.75}),
    Variant("Trained layers and head", "only the head", {"layers": "head"}),
    Variant("Trained layers and head", "blocks 6 and 7", {"layers": "blocks 6-7"}, competitions=COMPETITIONS[1:]),
    Variant("Trained layers and head", "blocks 5 to 7", {"layers": "blocks 5-7"}),
    Variant("Trained layers and head", "blocks 4 to 7", {"layers": "blocks 4-7"}, competitions=COMPETITIONS[:1]),
    Variant("Trained layers and head", "blocks 3 to 7", {"layers": "blocks 3-7"}),
    Variant("Trained layers and head", "all layers", {"layers": "all"}),
    Variant("Trained layers and head", "layer decay 0.75", {"layer_decay": 0.75}),
    Variant("Trained layers and head", "all layers, layer decay 0.75", {"layers": "all", "layer_decay": 0.75}),
    Variant("Trained layers and head", "batch normalisation trained", {"batch_norm": True}),
    Variant("Trained layers and head", "maximum pooling", {"pool": "maximum"}),
    Variant("Trained layers and head", "average and maximum", {"pool": "both"}),
    Variant("Trained layers and head", "GeM pooling", {"pool": "gem"}),
    Variant("Trained layers and head", "dropout 0", {"dropout": 0.0}),
    Variant("Trained layers and head", "dropout 0.5", {"dropout": 0.5}),
    Variant("Augmentation", "no augmentation", {"geometry": "none"}),
    Variant("Augmentation", "only flips", {"geometry": "flips"}),
    Variant("Augmentation", "weaker geometry", {"geometry": "weak"}),
    Variant("Augmentation", "stronger geometry", {"geometry": "strong"}),
    Variant("Augmentation", "eight symmetries", {"geometry": "symmetries"}),
    Variant("Augmentation", "preset light", {"geometry": "light"}),
    Variant("Augmentation", "preset medium", {"geometry": "medium"}),
    Variant("Augmentation", "preset heavy", {"geometry": "heavy"}),
    Variant("Augmentation", "brightness and contrast", {"pixels": "brightness and contrast"}),
    Variant("Augmentation", "colour", {"pixels": "colour"}),
    Variant("Augmentation", "strong colour", {"pixels": "strong colour"}),
    Variant("Augmentation", "blur, sharpen or emboss", {"pixels": "blur or sharpen"}),
    Variant("Augmentation", "noise", {"pixels": "noise"}),
    Variant("Augmentation", "elastic", {"pixels": "elastic"}),
    Variant("Augmentation", "holes (cutout)", {"pixels": "holes"}),
    Variant("Augmentation", "AutoAugment", {"pixels": "AutoAugment"}),
    Variant("Augmentation", "RandAugment", {"pixels": "RandAugment"}),
    Variant("Augmentation", "TrivialAugment", {"pixels": "TrivialAugment"}),
    Variant("Augmentation", "AugMix", {"pixels": "AugMix"}),
    Variant("Augmentation", "local warping", {"pixels": "local warping"}),
    Variant("Augmentation", "PCA colour", {"pixels": "PCA colour"}),
    Variant("Augmentation", "MixUp 0.2", {"mixing": "mixup 0.2"}),
    Variant("Augmentation", "MixUp 0.8", {"mixing": "mixup 0.8"}),
    Variant("Augmentation", "CutMix", {"mixing": "cutmix"}),
    Variant("Augmentation", "MixUp or CutMix", {"mixing": "switch"}),
    Variant("Augmentation", "MixUp 0.2 of features", {"mixing": "mixup 0.2", "mix_features": True}),
    Variant("Augmentation", "MixUp or CutMix of features", {"mixing": "switch", "mix_features": True}),
    Variant("Augmentation", "random erasing", {"mixing": "erasing"}),
    Variant("Losses and labels", "label smoothing 0.05", {"label_smoothing": 0.05}),
    Variant("Losses and labels", "label smoothing 0.1", {"label_smoothing": 0.1}),
    Variant("Losses and labels", "focal loss", {"loss": "focal"}),
    Variant("Losses and labels", "asymmetric loss", {"loss": "asymmetric"}, competitions=("cards",)),
    Variant("Losses and labels", "binary cross-entropy", {"loss": "binary"}, competitions=COMPETITIONS[:2]),
    Variant("Losses and labels", "generalised cross-entropy, q 0.7", {"loss": "generalised"}),
    Variant(
        "Losses and labels",
        "ArcFace, margin 0.1",
        {"loss": "arcface", "head": "arcface"},
        competitions=COMPETITIONS[:2],
    ),
    Variant("Losses and labels", "balanced class weights", {"class_weights": "balanced"}),
    Variant("Rates and schedules", "rate x 3", {"rate_factor": 3.0}),
    Variant("Rates and schedules", "rate x 1/3", {"rate_factor": 1 / 3}),
    Variant("Rates and schedules", "twice the epochs", {"epochs_factor": 2.0}),
    Variant("Rates and schedules", "constant", {"schedule": "constant"}),
    Variant("Rates and schedules", "one cycle", {"schedule": "one cycle"}),
    Variant("Rates and schedules", "cosine, one restart", {"schedule": "restarts"}),
    Variant("Rates and schedules", "triangular cycles", {"schedule": "cyclic"}),
    Variant("Rates and schedules", "step", {"schedule": "step"}),
    Variant("Rates and schedules", "exponential", {"schedule": "exponential"}),
    Variant("Rates and schedules", "linear", {"schedule": "linear"}),
    Variant("Rates and schedules", "plateau", {"schedule": "plateau"}),
    Variant("Optimizers", "SGD", {"optimizer": "sgd"}),
    Variant("Optimizers", "Lion", {"optimizer": "lion"}),
    Variant("Optimizers", "Muon", {"optimizer": "muon"}),
    Variant("Optimizers", "Adafactor", {"optimizer": "adafactor"}),
    Variant("Optimizers", "Lookahead (AdamW)", {"optimizer": "lookahead"}),
    Variant("Optimizers", "schedule-free AdamW", {"optimizer": "schedule-free"}),
    Variant("Optimizers", "AdamW, gradients clipped", {"optimizer": "adamw, clipped"}),
    Variant("Optimizers", "no weight decay", {"weight_decay": 0.0}),
    Variant("Optimizers", "weight decay 0.1", {"weight_decay": 0.1}),
    Variant("Optimizers", "half the batch", {"batch_factor": 0.5}),
    Variant("Averages of weights", "EMA", {"average": "ema"}),
    Variant("Averages of weights", "SWA, constant tail", {"average": "swa", "schedule": "tail"}),
    Variant("Averages of weights", "2 snapshots", {"average": "snapshots", "schedule": "restarts"}),
    Variant("Ensembles", "two seeds", members=(BASE.name, "another seed")),
    Variant("Ensembles", "PyTorch and JAX", members=(BASE.name, "JAX instead of PyTorch")),
    Variant("Ensembles", "Lite0 and Lite1", members=(BASE.name, "EfficientNet-Lite1")),
    Variant("Ensembles", "two image sizes", members=(BASE.name, "images 1.5 times as wide")),
    Variant("Ensembles", "base and MixUp or CutMix", members=(BASE.name, "MixUp or CutMix")),
]
