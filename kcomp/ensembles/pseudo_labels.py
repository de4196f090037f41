"""Label confident test rows, for each fold by the runs that held it out. Imports no Keras."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.ensembles.joins import common_ids, select_rows
from kcomp.ensembles.members import check_same_table, shared_classes
from kcomp.ensembles.methods.averages import mean
from kcomp.ensembles.reading import read_all
from kcomp.runs.folder import Run, member_of


@dataclass(frozen=True)
class FoldLabels:
    """The pseudo-labels of a fold, from the runs that held it out (its teachers).

    test, held_out:  the teachers' mean probabilities, one row an image id, one column a class.
    labels:          the true labels of the held-out rows.
    chosen_ids:      the ids of the test rows that get a pseudo-label.
    """

    fold: int
    runs: tuple[Run, ...]
    test: pd.DataFrame
    held_out: pd.DataFrame
    labels: pd.DataFrame
    chosen_ids: pd.Index


def group_teachers(runs: Sequence[Run], folds: Sequence[int] | None = None) -> dict[int, list[Run]]:
    """Return the runs that held out each fold; None for `folds` means every fold.

    Only these runs may label the test rows that the fold's runs train on. The result does not depend on the order of
    `runs`. Raises ValueError when tables or classes differ, a run is named twice, or a fold has no run.
    """
    shared_classes(runs)
    check_same_table(runs)
    manifests = {run: run.manifest for run in runs}
    names = {run: (m["fold"], m["recipe"], m["fingerprint"], member_of(m), m["seed"]) for run, m in manifests.items()}
    by_fold: dict[int, list[Run]] = {}
    for number, run in enumerate(ordered := sorted(runs, key=names.__getitem__)):
        if number and names[run] == names[ordered[number - 1]]:
            raise ValueError(f"{ordered[number - 1].folder} and {run.folder} are copies of one run; name one of them")
        by_fold.setdefault(manifests[run]["fold"], []).append(run)
    table_folds = {
        fold for manifest in manifests.values() for fold in manifest.get("folds", range(manifest["fold"] + 1))
    }
    requested = sorted(table_folds) if folds is None else folds
    if unknown := sorted(set(requested) - table_folds):
        raise ValueError(
            f"--fold takes folds of the runs' table, {min(table_folds)} to {max(table_folds)}; received {unknown}"
        )
    without = [fold for fold in requested if fold not in by_fold]
    if without:
        raise ValueError(
            f"a fold is labelled by the runs that held it out, and no run held out the folds {without}; train and "
            f"predict such runs, or label the other folds alone: --fold {','.join(map(str, sorted(by_fold)))}"
        )
    return {fold: by_fold[fold] for fold in requested}


def label_fold(fold: int, runs: Sequence[Run], *, threshold: float, per_class: int | None = None) -> FoldLabels:
    """Choose the test rows whose highest mean probability over these runs is at least `threshold` (0 to 1).

    per_class: at most so many rows of each likeliest class, the most confident first, then by id.
    Raises ValueError when no row reaches the threshold.
    """
    rule = "the runs that label one fold must predict the same rows"
    test, held_out = mean_of_runs(runs, "test", rule), mean_of_runs(runs, "oof", rule)
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
    return FoldLabels(fold, tuple(runs), test, held_out, labels, chosen.index)


def mean_of_runs(runs: Sequence[Run], name: str, rule: str) -> pd.DataFrame:
    """Return the mean of the runs' `test` or `oof`, sorted by id; ValueError when their rows differ."""
    frames = [frame.sort_index() for frame in read_all(runs, name)]
    named_ids = [(f"{run.folder}/{name}.csv", frame.index) for run, frame in zip(runs, frames, strict=True)]
    ids = common_ids(named_ids, rule, partial=False)
    return pd.DataFrame(mean([select_rows(frame, ids) for frame in frames]), ids, frames[0].columns)


def join_rows(folds: Sequence[FoldLabels], test: Table, *, hard: bool) -> pd.DataFrame:
    """Return the chosen rows of all folds, by fold and id, with image_id, image, fold and one column a class.

    `test` has their images; ValueError when it lacks a row. Labels are 0 or 1 if `hard`, else probabilities.
    """
    images, parts = dict(zip(test.ids, test.images, strict=True)), []
    for fold in folds:
        ids = fold.chosen_ids.sort_values()
        missing = [image_id for image_id in ids if image_id not in images]
        if missing:
            raise ValueError(
                f"{fold.runs[0].folder}/test.csv has {len(missing)} chosen ids that the test rows lack, first "
                f"{missing[:3]}; name the rows that were predicted with --test"
            )
        labels = fold.test.loc[ids]
        if hard:
            values = np.eye(len(labels.columns))[labels.to_numpy().argmax(1)]
            labels = pd.DataFrame(values, ids, labels.columns)
        part = labels.assign(image_id=ids, fold=fold.fold)
        part["image"] = pd.Series([images[image_id] for image_id in ids], ids, dtype=object)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def count_by_class(labels: FoldLabels) -> list[dict[str, Any]]:
    """Return a table row for each class: test rows of that likeliest class, rows taken, and their mean confidence."""
    tops, confidence = labels.test.idxmax(axis=1), labels.test.max(axis=1)
    lines = []
    for name in labels.runs[0].manifest["classes"]:
        chosen = labels.chosen_ids[tops[labels.chosen_ids] == name]
        confident = f"{confidence[chosen].mean():.4f}" if len(chosen) else "-"
        lines.append(
            {
                "fold": labels.fold,
                "class": name,
                "of": int((tops == name).sum()),
                "taken": len(chosen),
                "mean confidence": confident,
            }
        )
    return lines


def summarize_fold(labels: FoldLabels, threshold: float) -> dict[str, Any]:
    """Return a table row for a fold, with the teachers' accuracy on held-out rows at the same confidence."""
    sure = labels.held_out.max(axis=1) >= threshold
    right = labels.held_out[sure].to_numpy().argmax(1) == labels.labels[sure].to_numpy().argmax(1)
    return {
        "fold": labels.fold,
        "runs": len(labels.runs),
        "test rows": len(labels.test),
        "taken": len(labels.chosen_ids),
        "mean confidence": float(labels.test.max(axis=1)[labels.chosen_ids].mean()),
        "held-out rows as confident": f"{int(sure.sum())} of {len(sure)}",
        "of them right": f"{right.mean():.4f}" if len(right) else "-",
    }
