"""Change held-out images, and predict each image with the run that held it out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
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

SIDE = 256  # images are reduced to this longer side first, or to twice the side of the network's input if that is more
MANY = 20  # the sample is taken from at most this many times as many random rows
UNTOUCHED = Stress("untouched", "", (0.0,), (0.0,), 0.0, "", lambda pixels, strength, draws: pixels.copy())


def sample_rows(rows: HeldOutRows, candidates: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Return `count` of the positions in `candidates`, sorted. Return all if there are fewer.

    The sample is stratified: each class, for example, has about the same share in it as in `candidates`.
    """
    if len(candidates) <= count:
        return candidates
    random = np.random.default_rng(seed)
    own = random.permutation(candidates)[: MANY * count]
    strata = rows.target.strata(rows.labels[own])
    if strata.ndim == 2:
        share = count / len(own)
        is_chosen = stratify(strata, np.array([share, 1 - share]), seed=seed) == 0  # about `count` rows
        return np.sort(np.concatenate([own[is_chosen], own[~is_chosen]])[:count])
    order = np.lexsort((random.permutation(len(own)), strata))
    return np.sort(own[order[np.linspace(0, len(own) - 1, count).round().astype(int)]])


def predict_changed(
    rows: HeldOutRows,
    place: int,
    chosen: np.ndarray,
    strengths: Mapping[str, tuple[float, ...]],
    progress: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Predict changed images, each with the run that held out the original image.

    The change is applied to the original image, before the recipe resizes it.

    Args:
        rows: All rows.
        place: Position of the member (all runs that differ only in their fold) whose runs predict.
        chosen: Positions of the rows to predict.
        strengths: The strengths to apply, by the name of the change. "untouched" has (0.0,).
        progress: Called with the number of images that were predicted since the last call.

    Returns:
        Predictions (strengths, rows, prediction columns), by the name of the change.
    """
    kinds = [replace(kind, strengths=strengths[kind.name]) for kind in (UNTOUCHED, *KINDS) if strengths.get(kind.name)]
    columns = len(rows.target.prediction_columns)
    predictions = {kind.name: np.empty((len(kind.strengths), len(chosen), columns)) for kind in kinds}
    for run in rows.members[place].runs:
        positions = np.flatnonzero(rows.folds_of(place)[chosen] == run.manifest["fold"])
        if not len(positions):
            continue
        predict = predictor_of(run, rows, chosen[positions])
        for kind in kinds:
            predictions[kind.name][:, positions] = predict(kind)
            progress(len(positions) * len(kind.strengths))
    return predictions


def predictor_of(run: Run, rows: HeldOutRows, chosen: np.ndarray) -> Callable[[Stress], np.ndarray]:
    """Return a function that predicts the rows `chosen` with a run.

    The function takes a kind of change. It returns predictions at all strengths, (strengths, rows, prediction columns).
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
    table = decode_once(table, channels=plain.images.channels, side=max(SIDE, 2 * max(plain.shape[:2])))

    def predict(kind: Stress) -> np.ndarray:
        changed = build_batches(recipe, change_table(table, kind), training=False, seed=seed)
        values = predict_rows(forward, changed, run.target)
        return values[:, order].reshape(len(kind.strengths), len(table), -1)

    return predict


def decode_once(table: Table, *, channels: int, side: int) -> Table:
    """Return a table whose images are functions. Each function decodes its image at the first call, and remembers it.

    Args:
        table: The table.
        channels: The number of channels of the decoded images.
        side: Larger images are reduced to this longer side.
    """
    import pandas as pd

    def loader(image: Any) -> Callable[[], np.ndarray]:
        return cache(lambda: shrink(decode(image, None, table.value_range, channels), side))

    images = pd.Series([loader(image) for image in table.images], table.frame.index, dtype=object)
    return replace(table, frame=table.frame.assign(image=images))


def change_table(table: Table, kind: Stress) -> Table:
    """Return a table of changed images: all rows at the first strength, then all rows at the second, and so on.

    The images of `table` must be functions that return pixels.
    """
    import pandas as pd

    frames = []
    for number, strength in enumerate(kind.strengths):
        images = [
            changed_image(load, kind, strength, item_of(image_id))
            for image_id, load in zip(table.ids, table.images, strict=True)
        ]
        ids = [f"{image_id} #{number}" for image_id in table.ids]
        frames.append(table.frame.assign(image_id=ids, image=pd.Series(images, table.frame.index, dtype=object)))
    return replace(table, frame=pd.concat(frames, ignore_index=True), pseudo=None)


def changed_image(load: Any, kind: Stress, strength: float, item: int) -> Callable[[], np.ndarray]:
    """Return a function that calls `load` for the pixels of an image, and changes them.

    The random numbers depend only on the kind of change and on `item`, a hash of the image id.
    """

    def change() -> np.ndarray:
        draws = generator(0, Purpose.NOISE, [each.name for each in (UNTOUCHED, *KINDS)].index(kind.name), item)
        return kind.change(load(), strength, draws)

    return change


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Reduce an image to a longer side of `side`. Return a smaller image unchanged."""
    factor = side / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    height, width = (max(1, round(length * factor)) for length in pixels.shape[:2])
    return resample(pixels, height, width, "area")
