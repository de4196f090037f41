"""Predict changed held-out images, to find out which changes break a model, and which would have helped it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kcomp.data.decoding import decode
from kcomp.data.draws import Purpose, generator, item_of
from kcomp.data.resampling import resample
from kcomp.data.splits.stratify import stratify
from kcomp.data.tables import Table
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.stress.kinds import KINDS, Stress
from kcomp.runs.folder import Run

SIDE = 1024  # photos are reduced to this longer side first; more if the network takes more than half of it
MANY = 20  # the sample is taken from at most this many times as many random rows
UNTOUCHED = Stress("untouched", "", (0.0,), (0.0,), 0.0, "", lambda pixels, strength, draws: pixels)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Stressed:
    """The predictions of changed images.

    Attributes:
        rows: Positions of the rows that were changed, a stratified sample.
        place: Position of the member whose runs predicted them.
        untouched: Predictions of the unchanged images, (rows, prediction columns).
        changed: For each kind, predictions at each of its strengths, (strengths, rows, prediction columns).
        seconds: How long it took.
    """

    rows: np.ndarray
    place: int
    untouched: np.ndarray
    changed: dict[str, np.ndarray]
    seconds: float


def sample_rows(rows: HeldOutRows, place: int, count: int, *, seed: int = 0) -> np.ndarray:
    """Return the positions of `count` rows that a member held out, or of all, with the same share of every stratum."""
    own = np.flatnonzero(rows.held_out_by[place])
    if len(own) <= count:
        return own
    random = np.random.default_rng(seed)
    own = random.permutation(own)[: MANY * count]
    strata = rows.target.strata(rows.labels[own])
    if strata.ndim == 2:
        share = count / len(own)
        return np.sort(own[stratify(strata, np.array([share, 1 - share]), seed=seed) == 0])
    order = np.lexsort((random.permutation(len(own)), strata))
    return np.sort(own[order[np.linspace(0, len(own) - 1, count).round().astype(int)]])


def predict_changed(rows: HeldOutRows, place: int, chosen: np.ndarray, progress: Progress) -> Stressed:
    """Predict the rows `chosen` under every change, each by the run of the member that held it out.

    The change is applied to the original image, before the recipe resizes it. A run with snapshots predicts with its
    best weights only.
    """
    import time

    start = time.perf_counter()
    kinds = (UNTOUCHED, *KINDS)
    columns = len(rows.target.prediction_columns)
    predictions = {kind.name: np.empty((len(kind.strengths), len(chosen), columns)) for kind in kinds}
    total, done = len(chosen) * sum(len(kind.strengths) for kind in kinds), 0
    for run in rows.members[place].runs:
        positions = np.flatnonzero(rows.folds_of(place)[chosen] == run.manifest["fold"])
        if not len(positions):
            continue
        predict = predictor_of(run, rows, chosen[positions])
        for kind in kinds:
            predictions[kind.name][:, positions] = predict(kind)
            done += len(positions) * len(kind.strengths)
            progress(done, total)
    untouched = predictions.pop(UNTOUCHED.name)[0]
    return Stressed(chosen, place, untouched, predictions, time.perf_counter() - start)


def predictor_of(run: Run, rows: HeldOutRows, chosen: np.ndarray) -> Callable[[Stress], np.ndarray]:
    """Return a function of a kind of change that predicts the rows at all its strengths.

    It returns (strengths, rows, prediction columns).
    """
    from kcomp.experiment.build import build_batches
    from kcomp.prediction.forward import compile_forward, predict_rows
    from kcomp.prediction.runs import trained_network

    assert rows.table is not None
    recipe, seed = run.recipe().recipe, int(run.manifest["seed"])
    table = rows.table.rows(chosen)
    forward = compile_forward(trained_network(run, recipe))
    plain = build_batches(recipe, table, training=False, seed=seed)
    order = [run.target.prediction_columns.index(name) for name in rows.target.prediction_columns]

    def predict(kind: Stress) -> np.ndarray:
        changed = change_table(table, kind, channels=plain.images.channels, side=max(SIDE, 2 * max(plain.shape[:2])))
        values = predict_rows(forward, build_batches(recipe, changed, training=False, seed=seed), run.target)
        return values[:, order].reshape(len(kind.strengths), len(table), -1)

    return predict


def change_table(table: Table, kind: Stress, *, channels: int, side: int) -> Table:
    """Return a table with all rows at the first strength, then all rows at the next, and so on.

    Args:
        table: The rows.
        kind: The change.
        channels: Channels of the images that the recipe decodes.
        side: Larger images are reduced to this longer side first.
    """
    import pandas as pd

    frames = []
    for number, strength in enumerate(kind.strengths):
        images = [
            changed_image(image, kind, strength, item_of(image_id), table.value_range, channels, side)
            for image_id, image in zip(table.ids, table.images, strict=True)
        ]
        ids = [f"{image_id} #{number}" for image_id in table.ids]
        frames.append(table.frame.assign(image_id=ids, image=pd.Series(images, table.frame.index, dtype=object)))
    return replace(table, frame=pd.concat(frames, ignore_index=True), pseudo=None)


def changed_image(
    image: Any,
    kind: Stress,
    strength: float,
    item: int,
    value_range: tuple[float, float] | None,
    channels: int,
    side: int,
) -> Callable[[], np.ndarray]:
    """Return a function that decodes an image and changes it.

    The random numbers depend only on the image id and the kind.
    """

    def load() -> np.ndarray:
        pixels = shrink(decode(image, None, value_range, channels), side)
        draws = generator(0, Purpose.NOISE, [each.name for each in (UNTOUCHED, *KINDS)].index(kind.name), item)
        return kind.change(pixels, strength, draws)

    return load


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Reduce an image whose longer side is above `side`."""
    factor = side / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    height, width = (max(1, round(length * factor)) for length in pixels.shape[:2])
    return resample(pixels, height, width, "area")
