"""The recipe whose variants scripts/worth.py compares: EfficientNet-Lite0 at a small size, on three small competitions.

    kcomp train scripts/worth_recipes.py --backend torch --set competition=cards --set folder=data/cards

Each value names a part, such as an optimizer. The defaults are the base recipe. Parts are looked up in the dicts of
this file and of worth_parts.py, so a variant changes one value, or two where one needs the other.
"""

from dataclasses import dataclass

import keras
import worth_parts as parts

from kcomp import data, models
from kcomp.averaging import EMA, SWA, Snapshots
from kcomp.recipe import Recipe, Stage

SIZES = {"ants-bees": 128, "sign-digits": 64, "cards": 128}
BATCHES = {"ants-bees": 16, "sign-digits": 32, "cards": 8}
EPOCHS = {"ants-bees": 4, "sign-digits": 3, "cards": 6}  # of the last stage
HEAD_EPOCHS = {"ants-bees": 3, "sign-digits": 1, "cards": 1}  # of the stage before it
PEAK_RATES = {"ants-bees": 5e-5, "sign-digits": 1e-3, "cards": 3e-4}
BLOCKS = {"ants-bees": "blocks 6-7", "sign-digits": "blocks 4-7", "cards": "blocks 4-7"}  # of the base recipe

LAYERS = {
    "head": "head",
    "blocks 6-7": "head.*|top.*|block[67].*",
    "blocks 5-7": "head.*|top.*|block[5-7].*",
    "blocks 4-7": "head.*|top.*|block[4-7].*",
    "blocks 3-7": "head.*|top.*|block[3-7].*",
    "all": "all",
}


@dataclass(frozen=True)
class Config:
    competition: str = "ants-bees"  # or sign-digits, cards
    folder: str = "data/ants-bees"
    network: str = "efficientnet_lite0"
    pool: str = "average"
    head: str = "dense"
    dropout: float = 0.2
    layers: str = "base"
    layer_decay: float = 1.0
    batch_norm: bool = False
    size_factor: float = 1.0
    epochs_factor: float = 1.0
    batch_factor: float = 1.0
    geometry: str = "base"
    pixels: str = "none"
    mixing: str = "none"
    mix_features: bool = False
    optimizer: str = "adamw"
    rate_factor: float = 1.0
    weight_decay: float = 0.02
    schedule: str = "cosine"
    loss: str = "target"
    label_smoothing: float = 0.0
    class_weights: str = "none"
    average: str = "none"

    @property
    def image_size(self):
        return round(SIZES[self.competition] * self.size_factor / 32) * 32

    @property
    def epochs(self):
        return max(1, round(EPOCHS[self.competition] * self.epochs_factor))


def table(config):
    path = f"{config.folder}/train.csv"
    if config.competition == "ants-bees":
        rows = data.read_csv(path, "images", label="label")
    elif config.competition == "sign-digits":
        rows = data.read_csv(path, "images", one_hot=[f"digit_{digit}" for digit in range(10)])
    else:
        rows = data.read_csv(path, "images", labels="ranks")
    return data.stratified_folds(rows, 5, seed=0)


def batches(config, rows, training, seed):
    size = config.image_size
    return data.Batches(
        rows,
        size,
        batch_size=round(BATCHES[config.competition] * config.batch_factor),
        training=training,
        seed=seed,
        images=parts.images(config.competition, size),
        transform=parts.transform(config, size, training),
        layers=parts.MIXING[config.mixing](),
    )


def model(config, target):
    backbone = getattr(models, config.network)(config.image_size)
    return models.classifier(backbone, target, pool=config.pool, head=config.head, dropout=config.dropout)


def stages(config):
    peak, epochs = PEAK_RATES[config.competition] * config.rate_factor, config.epochs
    optimizer = parts.OPTIMIZERS[config.optimizer](parts.SCHEDULES[config.schedule], peak, epochs, config.weight_decay)
    options = {
        "label_smoothing": config.label_smoothing,
        "class_weights": None if config.class_weights == "none" else config.class_weights,
    }
    losses = [parts.LOSSES[config.loss]() for _ in range(2)]
    averages = {"none": None, "ema": EMA(0.98), "swa": SWA(max(1, epochs // 2)), "snapshots": Snapshots()}
    # mixing changes images, and where all layers are trained, there are no features
    cached = (config.mixing == "none" or config.mix_features) and config.layers != "all"
    last = {
        "train_batch_norm": config.batch_norm,
        "layer_decay": config.layer_decay,
        "average": averages[config.average],
        "cache_views": epochs if cached else None,
        "mix_features": config.mix_features,
    }
    layers = LAYERS[BLOCKS[config.competition] if config.layers == "base" else config.layers]
    first = HEAD_EPOCHS[config.competition]
    return [
        Stage("head", first, "head.*", keras.optimizers.AdamW(1e-3), losses[0], cache_views=first, **options),
        Stage("last", epochs, layers, optimizer, losses[1], **options, **last),
    ]


recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last")
