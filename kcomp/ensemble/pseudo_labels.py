"""Confident test rows with labels, for each fold from the runs that held it out. Imports no Keras."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.ensemble.averages import mean
from kcomp.ensemble.blending import check_tables, classes_of, common_ids, rows_of
from kcomp.ensemble.reading import read_all
from kcomp.runs.folder import Run, member_of


@dataclass(frozen=True)
class Taught:
    """What the teachers of a fold say: `test` and `held_out` are the means of their probabilities, one row an image id
    and one column a class; `labels` are those of the held-out rows, and `taken` names the test rows that are chosen."""

    fold: int
    runs: tuple[Run, ...]
    test: pd.DataFrame
    held_out: pd.DataFrame
    labels: pd.DataFrame
    taken: pd.Index


def teachers(runs: Sequence[Run], folds: Sequence[int] | None = None) -> dict[int, list[Run]]:
    """The runs that held out each fold, and so may label the test rows it is trained with; None asks for every fold.

    They come in an order of their own, so that of `runs` cannot matter. ValueError where tables or classes differ, a
    run is given twice, or a fold has no run.
    """
    classes_of(runs)
    check_tables(runs)
    kept = {run: run.manifest for run in runs}
    names = {run: (m["fold"], m["recipe"], m["fingerprint"], member_of(m), m["seed"]) for run, m in kept.items()}
    found: dict[int, list[Run]] = {}
    for number, run in enumerate(ordered := sorted(runs, key=names.__getitem__)):
        if number and names[run] == names[ordered[number - 1]]:
            raise ValueError(f"{ordered[number - 1].folder} and {run.folder} are one run; a teacher counts once")
        found.setdefault(kept[run]["fold"], []).append(run)
    known = {fold for manifest in kept.values() for fold in manifest.get("folds", range(manifest["fold"] + 1))}
    wanted = sorted(known) if folds is None else folds
    if odd := sorted(set(wanted) - known):
        raise ValueError(f"--fold takes folds of the runs' table, {min(known)} to {max(known)}; received {odd}")
    without = [fold for fold in wanted if fold not in found]
    if without:
        raise ValueError(
            f"a fold's teachers are the runs that held it out, and no run held out {without}; train and predict some, "
            f"or name the folds to label for: --fold {','.join(map(str, sorted(found)))}"
        )
    return {fold: found[fold] for fold in wanted}


def taught(fold: int, runs: Sequence[Run], *, threshold: float, per_class: int | None = None) -> Taught:
    """Choose the test rows whose top probability, in the mean of these runs, is at least `threshold` (0 to 1).

    per_class: how many rows of a class, by the top one, are taken at most, the most confident ones; of equal ones those
    whose ids come first. ValueError where none reaches the threshold.
    """
    rule = "the teachers of one fold must predict the same rows"
    test, held_out = average(runs, "test", rule), average(runs, "oof", rule)
    top = test.max(axis=1)
    chosen = top[top >= threshold]
    if chosen.empty:
        raise ValueError(
            f"no test row of fold {fold} reaches the threshold {threshold:g}; the highest probability is "
            f"{top.max():.4f}, of {top.idxmax()!r}. Lower --threshold, or leave the fold out with --fold"
        )
    order = np.lexsort((chosen.index.to_numpy(str), -chosen.to_numpy()))
    chosen = chosen.iloc[order]
    if per_class is not None:
        chosen = chosen.groupby(test.loc[chosen.index].idxmax(axis=1), sort=False).head(per_class)
    labels = next(read_all(runs[:1], "labels")).loc[held_out.index]
    return Taught(fold, tuple(runs), test, held_out, labels, chosen.index)


def average(runs: Sequence[Run], name: str, rule: str) -> pd.DataFrame:
    """The mean of the runs' `test` or `oof`, sorted by id; ValueError where their rows differ."""
    frames = [frame.sort_index() for frame in read_all(runs, name)]
    named = [(f"{run.folder}/{name}.csv", frame.index) for run, frame in zip(runs, frames, strict=True)]
    ids = common_ids(named, rule, partial=False)
    return pd.DataFrame(mean([rows_of(frame, ids) for frame in frames]), ids, frames[0].columns)


def rows_to_write(found: Sequence[Taught], test: Table, *, hard: bool) -> pd.DataFrame:
    """The chosen rows of all folds, by fold and id: image_id, image, fold, and one column a class, 0 or 1 where `hard`.

    `test` has their images; ValueError where it lacks a row.
    """
    images, parts = dict(zip(test.ids, test.images, strict=True)), []
    for one in found:
        ids = one.taken.sort_values()
        unknown = [image_id for image_id in ids if image_id not in images]
        if unknown:
            raise ValueError(
                f"{one.runs[0].folder}/test.csv has {len(unknown)} chosen ids that the test rows lack, first "
                f"{unknown[:3]}; name the rows that were predicted with --test"
            )
        labels = one.test.loc[ids]
        if hard:
            values = np.eye(len(labels.columns))[labels.to_numpy().argmax(1)]
            labels = pd.DataFrame(values, ids, labels.columns)
        part = labels.assign(image_id=ids, fold=one.fold)
        part["image"] = pd.Series([images[image_id] for image_id in ids], ids, dtype=object)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def by_class(one: Taught) -> list[dict[str, Any]]:
    """For each class: how many test rows the teachers put into it, how many are taken, and how confident these are."""
    tops, confidence = one.test.idxmax(axis=1), one.test.max(axis=1)
    lines = []
    for name in one.runs[0].manifest["classes"]:
        taken = one.taken[tops[one.taken] == name]
        mean_of = f"{confidence[taken].mean():.4f}" if len(taken) else "-"
        lines.append(
            {
                "fold": one.fold,
                "class": name,
                "of": int((tops == name).sum()),
                "taken": len(taken),
                "mean confidence": mean_of,
            }
        )
    return lines


def by_fold(one: Taught, threshold: float) -> dict[str, Any]:
    """What is taken for a fold, and how often its teachers are right where they are as confident on held-out rows."""
    sure = one.held_out.max(axis=1) >= threshold
    right = one.held_out[sure].to_numpy().argmax(1) == one.labels[sure].to_numpy().argmax(1)
    return {
        "fold": one.fold,
        "teachers": len(one.runs),
        "test rows": len(one.test),
        "taken": len(one.taken),
        "mean confidence": float(one.test.max(axis=1)[one.taken].mean()),
        "held-out rows as sure": f"{int(sure.sum())} of {len(sure)}",
        "of them right": f"{right.mean():.4f}" if len(right) else "-",
    }
