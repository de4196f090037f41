"""The parts that scripts/worth_recipes.py looks up by name: augmentation, mixing, optimizers, schedules and losses."""

import albumentations as A
import cv2
import keras

from kcomp import augment, data, losses, optimizers, schedules

# ---------------------------------------------------------------- images and their augmentation


def images(competition, size):
    """Return how the images of a competition are decoded."""
    if competition == "ants-bees":
        return data.Images(size * 8 // 7, fit="shorter")
    return data.Images(size if competition == "sign-digits" else None)


def transform(config, size, training):
    """Return the transform of a competition, with the geometry and the changes of pixels that the config names."""
    kind = config.competition
    if kind == "ants-bees":
        first = [A.CenterCrop(size, size)]
    elif kind == "cards":
        first = [A.PadIfNeeded(400, 400), A.Resize(size, size, interpolation=cv2.INTER_AREA)]
    else:
        first = []
    if not training:
        return A.Compose(first) if first else None
    if config.geometry in PRESETS:  # they crop, so the crop of validation is left out
        before = first if kind == "cards" else []
        steps = [*before, PRESETS[config.geometry](size, mirror=kind != "sign-digits")]
        return A.Compose(steps)
    steps = [*(GEOMETRY[kind][config.geometry](size, first)), *PIXELS[config.pixels](size)]
    return A.Compose(steps) if steps else None


def affine(scale, shift, angle):
    return A.Affine(scale=(1 - scale, 1 + scale), translate_percent=(-shift, shift), rotate=(-angle, angle), p=0.8)


def crop(size, smallest):
    return A.RandomResizedCrop((size, size), scale=(smallest, 1.0))


FLIP, FLIP_UP = A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)

GEOMETRY = {  # lists of transforms for each competition; `first` are those of validation
    "ants-bees": {
        "none": lambda size, first: first,
        "flips": lambda size, first: [*first, FLIP],
        "weak": lambda size, first: [crop(size, 0.8), FLIP],
        "base": lambda size, first: [crop(size, 0.5), FLIP],
        "strong": lambda size, first: [crop(size, 0.2), FLIP],
        "symmetries": lambda size, first: [crop(size, 0.5), A.D4(p=1.0)],
    },
    "sign-digits": {
        "none": lambda size, first: [],
        "flips": lambda size, first: [FLIP],
        "weak": lambda size, first: [affine(0.08, 0.04, 6)],
        "base": lambda size, first: [affine(0.15, 0.08, 12)],
        "strong": lambda size, first: [affine(0.3, 0.15, 25)],
        "symmetries": lambda size, first: [affine(0.15, 0.08, 12), A.D4(p=1.0)],
    },
    "cards": {
        "none": lambda size, first: first,
        "flips": lambda size, first: [*first, FLIP, FLIP_UP],
        "weak": lambda size, first: [*first, FLIP, FLIP_UP, affine(0.1, 0.05, 10)],
        "base": lambda size, first: [*first, FLIP, FLIP_UP, affine(0.2, 0.1, 20)],
        "strong": lambda size, first: [*first, FLIP, FLIP_UP, affine(0.4, 0.2, 45)],
        "symmetries": lambda size, first: [*first, A.D4(p=1.0), affine(0.2, 0.1, 20)],
    },
}

# Variances and directions of the colours of ImageNet, as in Facebook's ResNet training (fb.resnet.torch).
IMAGENET_COLOURS = (
    (0.2175, 0.0188, 0.0045),
    ((-0.5675, -0.5808, -0.5836), (0.7192, -0.0045, -0.6948), (0.4009, -0.8140, 0.4203)),
)
PRESETS = {"light": augment.light, "medium": augment.medium, "heavy": augment.heavy}

PIXELS = {
    "none": lambda size: [],
    "brightness and contrast": lambda size: [A.RandomBrightnessContrast(0.2, 0.2, p=0.5)],
    "colour": lambda size: [A.ColorJitter(0.3, 0.3, 0.3, 0.03, p=0.7)],
    "strong colour": lambda size: [A.ColorJitter(0.5, 0.5, 0.5, 0.1, p=0.9)],
    "grey": lambda size: [A.ToGray(p=0.3)],
    "blur or sharpen": lambda size: [A.OneOf([A.GaussianBlur(p=1.0), A.Sharpen(p=1.0), A.Emboss(p=1.0)], p=0.5)],
    "noise": lambda size: [A.GaussNoise(p=0.5)],
    "elastic": lambda size: [A.ElasticTransform(alpha=size / 2, sigma=size / 16, p=0.5)],
    "holes": lambda size: [A.CoarseDropout((1, 4), (0.1, 0.25), (0.1, 0.25), fill=128, p=0.7)],
    "AutoAugment": lambda size: [augment.AutoAugment("imagenet")],
    "RandAugment": lambda size: [augment.RandAugment(2, 9)],
    "TrivialAugment": lambda size: [augment.TrivialAugment()],
    "AugMix": lambda size: [augment.AugMix()],
    "local warping": lambda size: [augment.LocalWarp()],
    "PCA colour": lambda size: [augment.PCAColour(*IMAGENET_COLOURS)],
}

MIXING = {
    "none": list,
    "mixup 0.2": lambda: [augment.MixUp(0.2)],
    "mixup 0.8": lambda: [augment.MixUp(0.8)],
    "cutmix": lambda: [augment.CutMix(1.0)],
    "switch": lambda: [augment.Switch(augment.MixUp(0.2), augment.CutMix(1.0))],
    "erasing": lambda: [augment.RandomErasing(0.5)],
}

# ---------------------------------------------------------------- learning rates and optimizers

SCHEDULES = {
    "cosine": lambda peak, epochs: schedules.WarmupCosine(peak, epochs, warmup=0.5),
    "constant": lambda peak, epochs: schedules.Constant(peak, warmup=0.5),
    "one cycle": lambda peak, epochs: schedules.OneCycle(peak, epochs),
    "restarts": lambda peak, epochs: schedules.CosineRestarts(peak, epochs, 2, warmup=0.5),
    "cyclic": lambda peak, epochs: schedules.Cyclic(peak / 10, peak, rise=epochs / 4, per_cycle=0.5),
    "step": lambda peak, epochs: schedules.Step(peak, every=epochs / 2, factor=0.1),
    "exponential": lambda peak, epochs: schedules.Exponential(peak, epochs, final=peak / 100),
    "linear": lambda peak, epochs: schedules.Polynomial(peak, epochs),
    "plateau": lambda peak, epochs: schedules.Plateau(peak, patience=1, factor=0.3, warmup=0.5),
    "tail": lambda peak, epochs: schedules.Tail(SCHEDULES["cosine"](peak, epochs), epochs // 2, peak / 3),
}


def adamw(schedule, peak, epochs, decay):
    return keras.optimizers.AdamW(schedule(peak, epochs), weight_decay=decay)


OPTIMIZERS = {  # functions of schedule, peak rate, epochs and weight decay; the factors of the rates were not tuned
    "adamw": adamw,
    "adamw, clipped": lambda schedule, peak, epochs, decay: keras.optimizers.AdamW(
        schedule(peak, epochs), weight_decay=decay, global_clipnorm=1.0
    ),
    "sgd": lambda schedule, peak, epochs, decay: keras.optimizers.SGD(
        schedule(peak * 30, epochs), momentum=0.9, nesterov=True, weight_decay=decay / 30
    ),
    "lion": lambda schedule, peak, epochs, decay: keras.optimizers.Lion(
        schedule(peak / 5, epochs), weight_decay=decay * 5
    ),
    "muon": lambda schedule, peak, epochs, decay: keras.optimizers.Muon(
        schedule(peak, epochs), exclude_layers=["head"], weight_decay=decay
    ),
    "adafactor": lambda schedule, peak, epochs, decay: keras.optimizers.Adafactor(
        schedule(peak, epochs), relative_step=False, weight_decay=decay
    ),
    "lookahead": lambda *arguments: optimizers.Lookahead(adamw(*arguments)),
    "schedule-free": lambda schedule, peak, epochs, decay: optimizers.ScheduleFreeAdamW(
        peak, warmup_steps=10, weight_decay=decay
    ),
}

# ---------------------------------------------------------------- losses


LOSSES = {  # functions without arguments; None is the default loss of the target
    "target": lambda: None,
    "focal": lambda: losses.Focal(2.0),
    "asymmetric": lambda: losses.Asymmetric(),
    "binary": lambda: losses.BinaryCrossentropy(),
    "generalised": lambda: losses.GeneralizedCrossentropy(0.7),
    "arcface": lambda: losses.ArcFace(0.1),
}
