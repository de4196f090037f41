"""Write kcomp/models/checkpoints/networks.csv: the checkpoints of timm that zeromodels converts.

    python scripts/write_timm_networks.py

The names come from zeromodels' converters, and the preprocessing from timm. Run it again after an update of either.
"""

import csv
import importlib
import pkgutil
from pathlib import Path

from timm_peer import timm

from kcomp.models.checkpoints.network import import_zeromodels

TARGET = Path(__file__).parents[1] / "kcomp/models/checkpoints/networks.csv"
COLUMNS = ("name", "family", "architecture", "heads", "size", "mean", "std", "crop", "interpolation")


def main():
    rows = sorted((row for family in families() for row in rows_of(*family)), key=lambda row: row["name"])
    with TARGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} checkpoints of {len({row['family'] for row in rows})} families")


def families():
    """Yield (family, variants) for each package of zeromodels that converts timm's checkpoints."""
    models = import_zeromodels("zeromodels.models")
    for package in pkgutil.iter_modules(models.__path__):
        folder = Path(models.__path__[0]) / package.name
        for path in folder.glob("convert_*_timm_to_keras.py"):
            converter = importlib.import_module(f"zeromodels.models.{package.name}.{path.stem}")
            yield package.name, next(value for name, value in vars(converter).items() if name.endswith("_VARIANTS"))


def rows_of(family, variants):
    for variant in variants.values():
        name = variant["timm_id"]
        config = timm.get_pretrained_cfg(name)
        if config is None:
            print(f"left out, unknown to timm: {name}")
            continue
        heads = config.classifier if isinstance(config.classifier, tuple) else (config.classifier,)
        yield {
            "name": name,
            "family": family,
            "architecture": variant["model"],
            "heads": " ".join(heads),
            "size": "{1} {2}".format(*config.input_size),
            "mean": " ".join(f"{value:g}" for value in config.mean),
            "std": " ".join(f"{value:g}" for value in config.std),
            "crop": config.crop_pct,
            "interpolation": config.interpolation,
        }


if __name__ == "__main__":
    main()
