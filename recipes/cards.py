"""Which of six ranks a photograph of playing cards shows, or how many cards: EfficientNet-Lite0, all layers.

    KERAS_BACKEND=torch kcomp train recipes/cards.py --fold all
    KERAS_BACKEND=torch kcomp train recipes/cards.py --fold all --set label=cards --set image_size=224

boxes.csv says where each card lies. For the ranks, 100 more training rows show four cards each. The cards are cut out
of photographs of the training rows. The count is a grade, so that a submission has whole numbers.

Result: out-of-fold ROC AUC (mean of the labels)
0.941 +- 0.014 (n = 5 folds) on PyTorch
(mean and standard deviation over folds, last epoch, one view).
"""

from dataclasses import dataclass, replace

import albumentations as A
import keras
import numpy as np
import pandas as pd

from kcomp import data, models, schedules, views
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:
    folder: str = "data/cards"
    label: str = "ranks"  # a column: ranks, or cards for how many there are
    image_size: int = 320
    batch_size: int = 8
    epochs: int = 16
    peak_rate: float = 2e-4
    arrangements: int = 100  # further training rows of four cards each


def table(config):
    target = {"labels": "ranks"} if config.label == "ranks" else {"grades": "cards"}
    return data.stratified_folds(data.read_csv(f"{config.folder}/train.csv", "images", **target), 5, seed=0)


def with_arrangements(config, rows):
    box = data.Box(("xmin", "ymin", "xmax", "ymax"), margin=0.1)
    cards = data.read_csv(f"{config.folder}/boxes.csv", "images", label="rank", item="image_id", box=box)
    cards = cards.rows(cards.frame["item"].isin(rows.ids).to_numpy())  # no card of a held-out photograph
    tile, new = A.Compose([A.LongestMaxSize(180), A.PadIfNeeded(200, 200)]), []
    for number in range(config.arrangements):
        four = np.random.default_rng(number).choice(len(cards), 4, replace=False)
        tiles = [tile(image=cards.images[place]())["image"] for place in four]
        image = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
        labels = dict(zip(cards.columns, cards.labels[four].max(axis=0), strict=True))
        new.append({"image_id": f"arrangement {number}", "image": image, "fold": -1, **labels})
    return replace(rows, frame=pd.concat([rows.frame, pd.DataFrame(new)], ignore_index=True))


def batches(config, rows, training, seed):
    steps = [A.PadIfNeeded(400, 400), A.Resize(config.image_size, config.image_size, interpolation=3)]
    if training:  # cards lie in any direction
        turn = A.Affine(scale=(0.8, 1.2), translate_percent=(-0.1, 0.1), rotate=(-20, 20), p=0.8)
        steps += [A.D4(p=1.0), turn, A.ColorJitter(0.3, 0.3, 0.3, 0.03, p=0.7)]
        rows = with_arrangements(config, rows) if config.label == "ranks" else rows
    options = {"training": training, "seed": seed, "transform": A.Compose(steps), "images": data.Images(None)}
    return data.Batches(rows, config.image_size, batch_size=config.batch_size, **options)


def model(config, target):
    return models.classifier(models.efficientnet_lite0(config.image_size), target)


def stages(config):
    rate = schedules.WarmupCosine(config.peak_rate, config.epochs, warmup=0.5)
    return [Stage("all", config.epochs, "all", keras.optimizers.AdamW(rate, weight_decay=0.02))]


def tta(config):
    return [views.plain, views.left_right, views.upside_down, views.half_turn]


recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, views=tta, keep="last")
