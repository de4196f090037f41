"""Measure whether `kcomp check` finds that one class was saved with another JPEG quality, and only then.

    python scripts/check_shortcuts.py data/ants-bees data/sign-digits

Each folder has train.csv, with a column of classes or a column for each class, and images/. For each seed, four data
sets are made of the same photographs:

- planted: a random class is saved again, with a random quality of 50 to 90. The files of other classes are unchanged.
- planted in half: the same for a random half of the images of that class.
- one quality: all images are saved again, with one random quality.
- random qualities: all images are saved again, each with a random quality that does not depend on its class.

The script prints how many of the first two have a finding "shortcut" that names the JPEG quantization, and how many of
the other two have no finding "shortcut".
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from kcomp import data, metrics
from kcomp.check.data_set import DataSet
from kcomp.check.shortcuts.part import check_shortcuts
from kcomp.data.tables import Table
from kcomp.measurements.measure import measure

PLANTED = ("planted", "planted in half")
LOWEST, HIGHEST = 50, 90  # JPEG quality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds")
    options = parser.parse_args()
    for folder in options.folders:
        table, right = read_table(folder), Counter[str]()
        print(f"{folder.name}, unchanged: {shortcuts(table) or 'no shortcut'}", flush=True)
        for seed in range(options.seeds):
            for name, quality in qualities(table, seed):
                with tempfile.TemporaryDirectory() as place:
                    messages = shortcuts(saved_again(table, quality, Path(place)))
                named = any("JPEG quantization" in text for text in messages)
                right[name] += named if name in PLANTED else not messages
                print(f"{folder.name}, seed {seed}, {name}: {messages or 'no shortcut'}", flush=True)
        for name, count in right.items():
            print(f"{folder.name}, {name}: right for {count} of {options.seeds} seeds")


def read_table(folder: Path) -> Table:
    columns = [name for name in pd.read_csv(folder / "train.csv", nrows=0) if name != "image_id"]
    labels = {"label": columns[0]} if len(columns) == 1 else {"one_hot": columns}
    return data.read_csv(folder / "train.csv", "images", **labels)


def qualities(table: Table, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of each data set, and the JPEG quality of each image; 0 for an unchanged file."""
    random = np.random.default_rng(seed)
    classes = table.labels.argmax(1)
    chosen = classes == random.integers(len(table.columns))
    quality = int(random.integers(LOWEST, HIGHEST + 1))
    yield "planted", np.where(chosen, quality, 0)
    yield "planted in half", np.where(chosen & (random.random(len(table)) < 0.5), quality, 0)
    yield "one quality", np.full(len(table), quality)
    yield "random qualities", random.integers(LOWEST, HIGHEST + 1, len(table))


def saved_again(table: Table, quality: np.ndarray, folder: Path) -> Table:
    """Return a table whose images with a quality above 0 are saved in a folder with that JPEG quality."""
    images = []
    for image, value in zip(table.images, quality.tolist(), strict=True):
        images.append(image)
        if value:
            images[-1] = str(folder / Path(str(image)).name)
            Image.open(str(image)).convert("RGB").save(images[-1], quality=value)
    return Table(table.frame.assign(image=images), table.target)


def shortcuts(table: Table) -> list[str]:
    """Return the messages of the warnings about shortcuts."""
    metric = metrics.get(table.required_target.default_metric)
    part = check_shortcuts(DataSet(table=table, facts=measure(table), metric=metric))
    return [finding.message for finding in part.findings if finding.severity != "note"]


if __name__ == "__main__":
    main()
