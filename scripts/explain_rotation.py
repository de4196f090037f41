"""Measure whether `kcomp explain` names rotation first, if the held-out images are rotated and the others are not.

    python scripts/explain_rotation.py
    python scripts/explain_rotation.py --backends torch --seeds 0 --turns random

A small network learns the digits of scikit-learn, without rotation as augmentation. The images of fold 0 are rotated by
90 degrees, by a random angle from -180 to 180 degrees, or not at all. Each seed has other folds, angles and weights.
The script prints what `kcomp explain` names first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kcomp import data

SIDE = 32
TURNS = ("90", "random", "none")
RECIPE = '''
"""Handwritten digits whose held-out images may be rotated."""

from dataclasses import dataclass

import keras
from keras import layers

from kcomp import data
from kcomp.recipe import Recipe, Stage


@dataclass(frozen=True)
class Config:
    csv: str = "train.csv"
    epochs: int = 12


def table(config):
    rows = data.read_csv(config.csv, images="images", label="label")
    return data.folds_from(rows, "csv:part")


def batches(config, rows, training, seed):
    return data.Batches(rows, 32, batch_size=32, training=training, seed=seed)


def model(config, target):
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 5, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(target.outputs, dtype="float32", name="head"),
        ]
    )


def stages(config):
    return [Stage("all", config.epochs, ".*", keras.optimizers.Adam(2e-3))]


recipe = Recipe(Config(), table=table, batches=batches, model=model, stages=stages, keep="last")
'''


def write_data(folder: Path, turn: str, seed: int) -> None:
    """Write the recipe, train.csv, and all images, of which those of fold 0 are rotated."""
    random = np.random.default_rng(seed)
    table = data.stratified_folds(data.sklearn_digits(), 5, seed=seed)
    reader, names = data.Images(None), np.array(table.columns)
    rows = pd.DataFrame(
        {"image_id": table.ids, "label": names[table.labels.argmax(1)], "part": table.frame["fold"].to_numpy()}
    )
    (folder / "images").mkdir(parents=True)
    for image_id, image, fold in zip(table.ids, table.images, rows["part"], strict=True):
        pixels = cv2.resize(reader.load(image_id, image), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        angle = {"90": 90.0, "random": random.uniform(-180, 180), "none": 0.0}[turn] if fold == 0 else 0.0
        matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), angle, 1.0)
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), cv2.warpAffine(pixels, matrix, (SIDE, SIDE)))
    rows.to_csv(folder / "train.csv", index=False)
    (folder / "turned.py").write_text(RECIPE)


def explain(folder: Path, backend: str, seed: int) -> dict:
    """Train fold 0, and return the content of explain.json."""
    train = ["train", "turned.py", "--backend", backend, "--seed", str(seed), "-o", f"run-{backend}"]
    for arguments in (train, ["explain", f"run-{backend}", "-o", f"page-{backend}"]):
        done = subprocess.run(
            [sys.executable, "-m", "kcomp.cli", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return json.loads((folder / f"page-{backend}" / "explain.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["jax", "torch"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--turns", nargs="+", choices=TURNS, default=list(TURNS))
    parser.add_argument("-o", dest="output", type=Path, help="where data and pages are kept; default: nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.output or Path(temporary)
        for turn in options.turns:
            for seed in options.seeds:
                folder = root / f"{turn}-{seed}"
                write_data(folder, turn, seed)
                for backend in options.backends:
                    report(f"rotation {turn}, seed {seed}, {backend}", explain(folder, backend, seed))


def report(name: str, content: dict) -> None:
    """Print the score, the first finding of the page, and the first change in the ranking."""
    first = content["stress"]["ranking"][0]
    accuracy = content["score"]["metrics"]["accuracy"]["mean"]
    messages = [finding["message"] for finding in content["summary"]["findings"]]
    print(
        f"{name}: accuracy {accuracy:.3f}; first change {first['change']}, "
        f"repair {first['is_repair']}; the page begins: {messages[0] if messages else 'no weakness'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
