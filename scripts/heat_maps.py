"""Measure how much heat lies inside the cards, on the held-out photographs of runs of recipes/cards.py.

    KERAS_BACKEND=torch python scripts/heat_maps.py runs/cards/<fingerprint> --data data/cards

boxes.csv says where each card lies. For each held-out photograph, and each rank that a run finds in it correctly, three
numbers are printed, as means over all pairs of photograph and rank:

- the share of the heat that lies inside the boxes of that rank (the weighting game, Raatikainen and Rahtu 2022);
- how often the hottest pixel lies inside a box or at most 15 pixels from it (the pointing game, Zhang et al. 2018);
- the share of the photograph's area that the boxes take, which is what heat everywhere would give.

The deviations are over runs. The backend of this process computes the maps, from the weights of any backend.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import keras
import numpy as np
import pandas as pd

from kcomp import explain
from kcomp.data.batches import Batches
from kcomp.data.images import Images
from kcomp.data.splits import split
from kcomp.data.tables import Table
from kcomp.experiment.build import build_batches
from kcomp.explain.heat.grad_cam import CamName
from kcomp.prediction.runs import trained_network
from kcomp.runs.folder import Run, find

TOLERANCE = 15  # pixels of the pointing game


@dataclass(frozen=True)
class Pair:
    """A rank that a run finds correctly in a held-out photograph.

    image:  the photograph as the network is fed it.
    column: position of the rank among the run's labels.
    boxes:  True for the pixels of `image` inside a box of the rank.
    photo:  True for the pixels of `image` that are no padding.
    """

    image: np.ndarray
    column: int
    boxes: np.ndarray
    photo: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, or folders that contain them")
    parser.add_argument("--data", type=Path, default=Path("data/cards"), help="the folder of boxes.csv")
    parser.add_argument("--method", choices=get_args(CamName), default="hires-cam")
    parser.add_argument("--layer", help="the layer whose feature map is used")
    options = parser.parse_args()
    boxes = pd.read_csv(options.data / "boxes.csv", dtype={"image_id": str})
    rows = []
    for run in [run for path in options.runs for run in find(path) if run.complete]:
        measures = measure(run, boxes, options.data, layer=options.layer, method=options.method)
        rows.append(measures.mean(0))
        print(f"{run.folder.name}: {describe(measures.mean(0))} (n = {len(measures)})", flush=True)
        rows[-1] = np.append(rows[-1], len(measures))
    table = np.array(rows)
    total = np.average(table[:, :3], axis=0, weights=table[:, 3])
    spread = f"; deviation of the share over {len(table)} runs {table[:, 0].std(ddof=1):.3f}" if len(table) > 1 else ""
    print(f"{keras.backend.backend()}: {describe(total)} (n = {int(table[:, 3].sum())}{spread})")


def describe(means: np.ndarray) -> str:
    return f"share of heat inside {means[0]:.3f}, pointing game {means[1]:.3f}, share of area {means[2]:.3f}"


def measure(run: Run, boxes: pd.DataFrame, folder: Path, **options: Any) -> np.ndarray:
    """Return the share of heat, the pointing game (0 or 1) and the share of area, float (pairs, 3).

    options: `layer` and `method` of `explain.heat_maps`.
    """
    recipe = run.recipe().with_values(folder=str(folder)).recipe
    _, held_out = split(recipe.table(recipe.config), int(run.manifest["fold"]))
    batches = build_batches(recipe, held_out, training=False, seed=0)
    pairs = list(found_pairs(run, held_out, batches, boxes))
    images, columns = np.stack([pair.image for pair in pairs]), [pair.column for pair in pairs]
    maps = explain.heat_maps(trained_network(run, recipe), images, columns, target=run.target, **options)
    return np.array([measure_map(heat, pair) for heat, pair in zip(maps, pairs, strict=True)])


def found_pairs(run: Run, rows: Table, batches: Batches, boxes: pd.DataFrame) -> Iterator[Pair]:
    """Yield the pairs of a held-out photograph and a rank that the run finds in it correctly."""
    found = run.target.decide(run.oof.loc[list(rows.ids)].to_numpy()) == 1
    for row, column in np.argwhere(found & (rows.labels == 1)):
        height, width = Images(None).load(rows.ids[row], rows.images[row]).shape[:2]
        inside, photo = np.zeros((height, width, 3), np.uint8), np.full((height, width, 3), 255, np.uint8)
        chosen = boxes[(boxes["image_id"] == rows.ids[row]) & (boxes["rank"] == run.target.columns[column])]
        for box in chosen.itertuples():
            inside[box.ymin : box.ymax, box.xmin : box.xmax] = 255
        # the recipe pads and scales the boxes like the photograph
        masks = (batches.transform(image=mask)["image"][..., 0] > 127 for mask in (inside, photo))
        yield Pair(batches.image(int(row)), int(column), *masks)


def measure_map(heat: np.ndarray, pair: Pair) -> tuple[float, bool, float]:
    """Return the share of heat inside the boxes, whether the hottest pixel hits one, and the boxes' share of area."""
    share = heat[pair.boxes].sum() / max(heat.sum(), 1e-9)
    distance = cv2.distanceTransform(np.uint8(~pair.boxes), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # to the next box
    hit = distance.flat[heat.argmax()] <= TOLERANCE
    return share, hit, pair.boxes.sum() / pair.photo.sum()


if __name__ == "__main__":
    main()
