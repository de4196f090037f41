"""Ants or bees: EfficientNet-Lite1 from ImageNet; trains the head first, then the upper blocks.

    KERAS_BACKEND=jax kcomp train recipes/ants_bees.py --fold all

Both classes are classes of ImageNet. With `--set imagenet_head=true`, the head starts from the ImageNet head. The
result below is without it, as for classes that ImageNet does not have.

Result: out-of-fold accuracy
0.971 +- 0.011 (n = 5 folds) on JAX and 0.971 +- 0.011 (n = 5 folds) on PyTorch
(mean and standard deviation over folds, last epoch, one view).
"""

from dataclasses import dataclass
from pathlib import Path

import albumentations as A
import keras

from kcomp import augment, data, models, schedules, views
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:
    csv: str = "data/ants-bees/train.csv"  # or a folder that holds one folder per class
    network: str = "efficientnet_lite1"  # or efficientnet_lite0, efficientnet_lite2
    image_size: int = 240
    batch_size: int = 16
    imagenet_head: bool = False
    head_epochs: int = 12
    head_rate: float = 1e-3
    epochs: int = 4
    peak_rate: float = 2e-5


def table(config):
    if Path(config.csv).is_dir():
        rows = data.read_folders(config.csv)
    else:
        rows = data.read_csv(config.csv, images="images", label="label")
    return data.stratified_folds(rows, 5, seed=0)


def batches(config, rows, training, seed):
    size = config.image_size
    crop, flip = A.RandomResizedCrop((size, size), scale=(0.5, 1.0), strict=True), A.HorizontalFlip(p=0.5, strict=True)
    transform = A.Compose([crop, flip] if training else [A.CenterCrop(size, size, strict=True)])
    mixing = [augment.Switch(augment.MixUp(0.2), augment.CutMix(1.0, probability=0.5))]
    options = {"training": training, "seed": seed, "transform": transform, "layers": mixing}
    images = data.Images(size * 8 // 7, fit="shorter")
    return data.Batches(rows, size, batch_size=config.batch_size, images=images, **options)


def model(config, target):
    backbone = getattr(models, config.network)(config.image_size, weights="imagenet")
    numbers = {"ants": 310, "bees": 309}  # of the ImageNet classes
    classes = [numbers[name] for name in target.columns] if config.imagenet_head else None
    return models.classifier(backbone, target, imagenet_classes=classes)


def stages(config):
    rate = schedules.WarmupCosine(config.peak_rate, config.epochs, warmup=min(1, config.epochs / 4))
    fine = keras.optimizers.AdamW(rate, weight_decay=0.01)
    options = {"cache_views": 2, "mix_features": True, "label_smoothing": 0.05}  # two augmented views, used in turn
    return [
        Stage("head", config.head_epochs, "head", keras.optimizers.AdamW(config.head_rate), **options),
        Stage("upper blocks", config.epochs, "head|top.*|block[67].*", fine, **options),
    ]


def tta(config):
    return [views.plain, views.left_right, *views.random(4)]


recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, views=tta, keep="last")
