"""Four states of apple leaves (Plant Pathology 2020, FGVC7): EfficientNet-B7 at 450 x 650 px, with seven random views.

    kcomp train plant_pathology_2020 --backend torch
    kcomp submit runs/plant_pathology_2020 --sample data/plant-pathology-2020-fgvc7/sample_submission.csv \\
        --variants --smooth 0.1 0.9 -o submissions

The second command writes four submissions: one without augmentation at test time, one with seven random views, and each
of them with smoothed probabilities. For other networks, add --set network=EfficientNetB0 (or EfficientNetV2S, or
ConvNeXtTiny).

Result: not measured. The full training needs Kaggle's data (https://www.kaggle.com/c/plant-pathology-2020-fgvc7) in
data/plant-pathology-2020-fgvc7 and a GPU.
"""

from dataclasses import dataclass

import albumentations as A
import keras

from kcomp import augment, data, models, schedules, views
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:
    folder: str = "data/plant-pathology-2020-fgvc7"
    network: str = "EfficientNetB7"  # a name of keras.applications
    pretrained: bool = True  # ImageNet weights, which Keras downloads; else random weights
    image_size: tuple[int, int] = (450, 650)  # height, width
    batch_size: int = 4
    epochs: int = 39
    warmup: float = 3.0  # epochs
    peak_rate: float = 6e-6
    held_out: float = 0.2  # share of the training rows


def table(config):
    labels = ["healthy", "multiple_diseases", "rust", "scab"]
    rows = data.read_csv(f"{config.folder}/train.csv", images="images", one_hot=labels)
    return data.holdout(rows, config.held_out, seed=0)


def test(config):
    return data.read_test(f"{config.folder}/test.csv", f"{config.folder}/images")


def batches(config, rows, training, seed):
    options = {"batch_size": config.batch_size, "training": training, "seed": seed}
    move = {"translate_percent": (-0.2, 0.2), "scale": (0.8, 1.2), "rotate": (-20, 20), "border_mode": 4}
    filters = [A.Emboss(strict=True), A.Sharpen(strict=True), A.Blur(strict=True), augment.LocalWarp(p=0.5)]
    steps = [
        A.RandomBrightnessContrast(0.2, 0.2, p=0.3, strict=True),
        A.VerticalFlip(p=0.5, strict=True),
        A.HorizontalFlip(p=0.5, strict=True),
        A.Affine(**move, p=1.0, strict=True),
        A.OneOf(filters, p=0.5),
    ]
    return data.Batches(rows, config.image_size, transform=A.Compose(steps) if training else None, **options)


def model(config, target):
    function, weights = getattr(keras.applications, config.network), "imagenet" if config.pretrained else None
    return models.classifier(models.application(function, config.image_size, weights=weights), target)


def stages(config):
    rate = schedules.WarmupCosine(config.peak_rate, config.epochs, warmup=config.warmup)
    return [Stage("all", config.epochs, "all", keras.optimizers.AdamW(rate), train_batch_norm=True)]


def tta(config):
    return views.random(7)


functions = {"table": table, "test": test, "batches": batches, "model": model, "stages": stages, "views": tta}
recipe = Recipe(Config(), **functions, metric="roc_auc")
