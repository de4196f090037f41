"""Write kcomp/models/checkpoints/networks.csv: the checkpoints of timm that zeromodels converts.

    python scripts/write_timm_networks.py

The networks come from zeromodels' converters and from kcomp, the names and the preprocessing from timm. Run it again
after an update of either.
"""

import csv
import importlib
import pkgutil
from pathlib import Path

from timm_peer import timm

from kcomp.models.checkpoints.network import OWN_FAMILIES, OWN_SIZES, architectures, import_zeromodels

TARGET = Path(__file__).parents[1] / "kcomp/models/checkpoints/networks.csv"
COLUMNS = ("name", "family", "architecture", "heads", "size", "mean", "std", "crop", "interpolation")


def main():
    converted = {row["name"]: row for family in families() for row in rows_of(*family)}
    rows = sorted({**same_networks(converted), **converted}.values(), key=lambda row: row["name"])
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
    """Yield a row for each checkpoint of which zeromodels has converted weights."""
    for variant in variants.values():
        row = row_of(variant["timm_id"], family, variant["model"])
        if row is None:
            print(f"left out, unknown to timm: {variant['timm_id']}")
        else:
            yield row


def same_networks(converted):
    """Return {name: row} of timm's checkpoints whose network is that of another row, or one of kcomp's own.

    The text before the dot of a name is timm's name of the network.
    """
    own = {**OWN_SIZES, **{family: architectures(family) for family in OWN_FAMILIES}}
    known = {name: (family, name) for family, names in own.items() for name in names}
    for name, row in converted.items():
        known.setdefault(name.split(".")[0], (row["family"], row["architecture"]))
    names = [name for name in timm.list_pretrained() if name.split(".")[0] in known]
    return {name: row_of(name, *known[name.split(".")[0]]) for name in names}


def row_of(name, family, architecture):
    config = timm.get_pretrained_cfg(name)
    if config is None:
        return None
    heads = config.classifier if isinstance(config.classifier, tuple) else (config.classifier,)
    return {
        "name": name,
        "family": family,
        "architecture": architecture,
        "heads": " ".join(heads),
        "size": "{1} {2}".format(*config.input_size),
        "mean": " ".join(f"{value:g}" for value in config.mean),
        "std": " ".join(f"{value:g}" for value in config.std),
        "crop": config.crop_pct,
        "interpolation": config.interpolation,
    }


if __name__ == "__main__":
    main()
