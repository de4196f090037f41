"""Make pseudo-labels: confident predictions of test rows, which are then used as training labels.

New runs that hold out a fold use the predictions of their teachers: earlier runs that held out the same fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.ensembles.joins import common_ids, predicted_ids, select_rows
from kcomp.ensembles.members import check_same_table, shared_target
from kcomp.ensembles.reading import read_all
from kcomp.runs.folder import Run, member_of
from kcomp.targets import Target


@dataclass(frozen=True)
class FoldLabels:
    """The pseudo-labels of test rows for new runs that hold out one fold.

    Attributes:
        fold: Number of the fold.
        target: The target of the runs.
        runs: The teachers: runs that held out the same fold.
        test: Mean prediction of the teachers for the test rows: one row for each image id, one column for each class.
        held_out: Mean prediction of the teachers for the rows of the fold, in the same form.
        labels: True labels of the rows of the fold.
        threshold: The lowest confidence of a pseudo-label.
        chosen_ids: Ids of the test rows that get a pseudo-label.
    """

    fold: int
    target: Target
    runs: tuple[Run, ...]
    test: pd.DataFrame
    held_out: pd.DataFrame
    labels: pd.DataFrame
    threshold: float
    chosen_ids: pd.Index

    def pseudo_labels(self, *, hard: bool) -> pd.DataFrame:
        """Return the pseudo-labels of the chosen rows, sorted by id: a row for each id, a column for each class.

        They are 0 or 1 if `hard` is True, otherwise probabilities. In multi-label data, a label whose confidence is
        below the threshold is NaN.
        """
        ids = self.chosen_ids.sort_values()
        values = self.test.loc[ids].to_numpy()
        labels = self.target.hardened(values) if hard else values
        sure = self.target.confidence(values) >= self.threshold
        return pd.DataFrame(np.where(sure, labels, np.nan), ids, self.test.columns)

    def right_decisions(self) -> tuple[np.ndarray, int]:
        """Return which confident predictions of the teachers are right, for the labelled rows of the fold.

        Returns:
            Two things: whether each confident prediction is right, bool (confident predictions,), and the number of
            predictions with a known label.
        """
        values, labels = self.held_out.to_numpy(), self.labels.to_numpy()
        sure = self.target.confidence(values) >= self.threshold
        right, known = self.target.hardened(values) == self.target.hardened(labels), ~np.isnan(labels)
        if sure.shape[1] == 1:  # each row has one class
            right, known = right.all(1, keepdims=True), known.all(1, keepdims=True)
        return right[sure & known], int(known.sum())


def group_teachers(runs: Sequence[Run], folds: Sequence[int] | None = None) -> dict[int, list[Run]]:
    """Return {fold: its teachers}. The teachers of a fold are the runs that held it out.

    Args:
        runs: All runs.
        folds: The folds to return. None for all folds.

    Raises:
        ValueError: If runs differ in rows, folds or target, a run is listed twice, or a fold has no teacher.
    """
    shared_target(runs)
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
    """Return the pseudo-labels of test rows for new runs that hold out the fold `fold`.

    A test row gets a pseudo-label if the mean prediction of the teachers is confident.

    Args:
        fold: Number of the fold.
        runs: The teachers: runs that held out this fold.
        threshold: Lowest confidence of a chosen row, from 0 to 1. The confidence is the highest probability of a class.
            For multi-label data, it is the highest max(p, 1 - p) of the labels.
        per_class: How many rows to choose of each class at most. The most confident rows are chosen. A row belongs to
            its most likely class. None for no limit.

    Raises:
        ValueError: If no row reaches the threshold, or if predictions are not probabilities.
    """
    rule, target = "the runs that label one fold must predict the same rows", runs[0].target
    test, held_out = mean_of_runs(runs, "test", rule), mean_of_runs(runs, "oof", rule)
    top = pd.Series(target.confidence(test.to_numpy()).max(1), test.index)
    chosen = top[top >= threshold]
    if chosen.empty:
        raise ValueError(
            f"no test row of fold {fold} reaches the threshold {threshold:g}; the highest probability is "
            f"{top.max():.4f}, of {top.idxmax()!r}. Lower --threshold, or leave the fold out with --fold"
        )
    order = np.lexsort((chosen.index.to_numpy(str), -chosen.to_numpy()))
    chosen = chosen.iloc[order]
    if per_class is not None:
        decisions = target.decide(test.loc[chosen.index].to_numpy())
        if decisions.ndim == 2:
            raise ValueError("--per-class counts rows of one class; with several labels a row, leave it out")
        chosen = chosen.groupby(decisions, sort=False).head(per_class)
    labels = next(read_all(runs[:1], "labels")).loc[held_out.index, list(target.columns)]
    return FoldLabels(fold, target, tuple(runs), test, held_out, labels, threshold, chosen.index)


def mean_of_runs(runs: Sequence[Run], name: str, rule: str) -> pd.DataFrame:
    """Return the mean of several runs' predictions: a row for each id, sorted by id.

    Args:
        runs: The runs.
        name: "test" for test rows, "oof" for held-out rows.
        rule: Start of the error message.

    Raises:
        ValueError: If the runs predict different rows.
    """
    target = runs[0].target
    columns = list(target.prediction_columns)
    frames = [frame[columns].sort_index() for frame in read_all(runs, name)]
    named_ids = [(f"{run.folder}/{name}.csv", frame.index) for run, frame in zip(runs, frames, strict=True)]
    ids = common_ids(named_ids, rule, partial=False)
    return pd.DataFrame(target.average([select_rows(frame, ids) for frame in frames]), ids, columns)


def join_rows(folds: Sequence[FoldLabels], test: Table, *, hard: bool) -> pd.DataFrame:
    """Return a table of the pseudo-labelled rows of all folds, sorted by fold and id.

    The columns are image_id, image, fold and one column for each class.

    Args:
        folds: The pseudo-labels of each fold.
        test: The table of test rows, with their images.
        hard: Whether labels are 0 or 1; see `FoldLabels.pseudo_labels`.

    Raises:
        ValueError: If `test` lacks a row.
    """
    rows: dict[str, list[int]] = {}  # the test rows of each id; an item with several images has several rows
    for row, name in enumerate(predicted_ids(test)):
        rows.setdefault(name, []).append(row)
    image_ids, images, parts = test.ids, test.images, []
    for fold in folds:
        ids = fold.chosen_ids.sort_values()
        missing = [image_id for image_id in ids if image_id not in rows]
        if missing:
            raise ValueError(
                f"{fold.runs[0].folder}/test.csv has {len(missing)} chosen ids that the test rows lack, first "
                f"{missing[:3]}; name the rows that were predicted with --test"
            )
        places = [row for image_id in ids for row in rows[image_id]]
        part = fold.pseudo_labels(hard=hard).loc[np.repeat(ids, [len(rows[image_id]) for image_id in ids])]
        part = part.reset_index(drop=True).assign(image_id=[image_ids[row] for row in places], fold=fold.fold)
        part["image"] = pd.Series([images[row] for row in places], dtype=object)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def count_by_class(labels: FoldLabels) -> list[dict[str, Any]]:
    """Return a table row for each class: how many test rows have this class, how many of them are chosen, and the
    chosen rows' mean confidence.
    """
    values = labels.test.to_numpy()
    decided = labels.target.hardened(values) > 0
    confidence = np.broadcast_to(labels.target.confidence(values), values.shape)
    is_chosen = decided & (confidence >= labels.threshold) & labels.test.index.isin(labels.chosen_ids)[:, None]
    lines = []
    for column, name in enumerate(labels.target.columns):
        confident = confidence[is_chosen[:, column], column]
        lines.append(
            {
                "fold": labels.fold,
                "class": name,
                "of": int(decided[:, column].sum()),
                "taken": len(confident),
                "mean confidence": f"{confident.mean():.4f}" if len(confident) else "-",
            }
        )
    return lines


def summarize_fold(labels: FoldLabels) -> dict[str, Any]:
    """Return one table row: how many test rows get a pseudo-label in a fold, and how accurate the teachers are."""
    right, count = labels.right_decisions()
    confidence = labels.target.confidence(labels.test.loc[labels.chosen_ids].to_numpy())
    return {
        "fold": labels.fold,
        "runs": len(labels.runs),
        "test rows": len(labels.test),
        "taken": len(labels.chosen_ids),
        "mean confidence": float(confidence[confidence >= labels.threshold].mean()),
        f"held-out {'rows' if confidence.shape[1] == 1 else 'labels'} as confident": f"{len(right)} of {count}",
        "of them right": f"{right.mean():.4f}" if len(right) else "-",
    }
