"""Predict a few rows at every strength of every change, and the other rows only at strengths that matter."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from kcomp.explain.held_out.outcomes import Outcomes
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.explain.stress.kinds import KINDS, Stress
from kcomp.explain.stress.predict import UNTOUCHED, predict_changed, sample_rows
from kcomp.explain.stress.repairs import repairs_of
from kcomp.explain.stress.stressed import Stressed

FEWEST = 32  # rows that are predicted at every strength, at least
PROMISING = 0.25  # all rows are predicted at a strength that may repair images, if p on the first rows is at most this
Progress = Callable[[int, int], None]


def predict_stages(
    rows: HeldOutRows, outcomes: Outcomes, place: int, chosen: np.ndarray, progress: Progress
) -> Stressed:
    """Predict the rows `chosen` with changed images.

    About a quarter of the rows are predicted at every strength, and the others only at `promising_strengths`.
    """
    start = time.perf_counter()
    first = np.isin(chosen, sample_rows(rows, chosen, max(FEWEST, len(chosen) // 4)))
    every = {kind.name: kind.strengths for kind in (UNTOUCHED, *KINDS)}
    realistic = {kind.name: kind.realistic for kind in (UNTOUCHED, *KINDS)}
    total = first.sum() * count(every) + (~first).sum() * count(realistic)
    done = 0

    def advance(images: int) -> None:
        nonlocal done
        done += images
        progress(min(done, total), total)

    predictions = predict_changed(rows, place, chosen[first], every, advance)
    untouched = predictions.pop(UNTOUCHED.name)[0]
    stressed = Stressed(chosen[first], np.ones(first.sum(), bool), place, untouched, predictions, 0.0)
    if not first.all():
        later = {kind.name: promising_strengths(rows, outcomes, stressed, kind) for kind in KINDS}
        total = done + (~first).sum() * (1 + count(later))
        more = predict_changed(rows, place, chosen[~first], {UNTOUCHED.name: UNTOUCHED.strengths} | later, advance)
        stressed = join_stages(stressed, chosen, first, more, later)
    return replace(stressed, seconds=time.perf_counter() - start)


def count(strengths: dict[str, tuple[float, ...]]) -> int:
    return sum(len(each) for each in strengths.values())


def promising_strengths(rows: HeldOutRows, outcomes: Outcomes, stressed: Stressed, kind: Stress) -> tuple[float, ...]:
    """Return the strengths of a kind of change that are realistic, or that improved the score of the first rows."""
    chosen = set(kind.realistic)
    for repair in repairs_of(rows, outcomes, stressed, kind):
        if repair.gain > 0 and repair.p <= PROMISING:
            chosen |= set(repair.strengths)
    return tuple(strength for strength in kind.strengths if strength in chosen)


def join_stages(
    stressed: Stressed,
    chosen: np.ndarray,
    first: np.ndarray,
    more: dict[str, np.ndarray],
    strengths: dict[str, tuple[float, ...]],
) -> Stressed:
    """Join the predictions of the first rows with those of the other rows. NaN where a row was not predicted.

    Args:
        stressed: Predictions of the first rows at all strengths.
        chosen: Positions of all predicted rows.
        first: Whether each position in `chosen` is one of the first rows, bool (rows,).
        more: Predictions of the other rows, by the name of the change.
        strengths: The strengths of `more`, by the name of the change.
    """
    untouched = np.empty((len(chosen), stressed.untouched.shape[1]))
    untouched[first], untouched[~first] = stressed.untouched, more[UNTOUCHED.name][0]
    changed = {}
    for kind in KINDS:
        values = np.full((len(kind.strengths), *untouched.shape), np.nan)
        values[:, first] = stressed.changed[kind.name]
        for number, strength in enumerate(strengths[kind.name]):
            values[kind.strengths.index(strength), ~first] = more[kind.name][number]
        changed[kind.name] = values
    return Stressed(chosen, first, stressed.place, untouched, changed, 0.0)
