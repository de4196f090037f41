"""Members of an ensemble from run folders, joined by image id and class name. Imports no Keras."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.ensemble import temperature
from kcomp.ensemble.averages import mean
from kcomp.ensemble.parts import stratified
from kcomp.ensemble.reading import checked, digest_of, read_all
from kcomp.runs.folder import Run, member_of

UNLESS = ", or with --allow-partial the rows they share are taken"
PARTS = 5  # of the rows, where runs have no folds that all members share


@dataclass(frozen=True)
class Member:
    """The runs that differ only in their fold: one model of the ensemble, scored over all rows it held out.

    `backend` is what made the runs: `jax` or `torch`, or as kcomp.runs.folder.member_of names what is neither's alone.
    `probabilities` has those rows, sorted by image id, and the classes, sorted by name; `folds` the fold of each.
    """

    recipe: str
    fingerprint: str
    backend: str
    seed: int
    runs: tuple[Run, ...]
    probabilities: pd.DataFrame
    folds: pd.Series

    @property
    def name(self) -> str:
        return f"{self.recipe} {self.fingerprint} {self.backend} seed {self.seed}"

    def folder_of(self, image_id: str) -> Path:
        """The folder of the run that held this row out."""
        fold = self.folds[image_id]
        return next(run.folder for run in self.runs if run.manifest["fold"] == fold)


def members(runs: Sequence[Run]) -> list[Member]:
    """Group runs by recipe, fingerprint, backend and seed, in that order whatever the order of `runs`.

    ValueError where two runs of a member held the same rows out, or where predictions are no probabilities.
    """
    groups: dict[tuple[str, str, str, int], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.manifest["fold"]):
        kept = run.manifest
        groups.setdefault((kept["recipe"], kept["fingerprint"], member_of(kept), kept["seed"]), []).append(run)
    frames = read_all([run for key in sorted(groups) for run in groups[key]], "oof")
    return [member(key, groups[key], [next(frames) for _ in groups[key]]) for key in sorted(groups)]


def member(key: tuple[str, str, str, int], group: Sequence[Run], frames: Sequence[pd.DataFrame]) -> Member:
    joined = pd.concat(frames) if len(frames) > 1 else frames[0]
    double = joined.index[joined.index.duplicated()]
    if len(double):
        holders = [str(run.folder) for run, frame in zip(group, frames, strict=True) if double[0] in frame.index]
        raise ValueError(
            f"the runs of one recipe, backend and seed must hold out different rows; {double[0]!r} is held out by "
            f"{holders}"
        )
    numbers = [np.full(len(frame), run.manifest["fold"]) for run, frame in zip(group, frames, strict=True)]
    folds = pd.Series(np.concatenate(numbers), joined.index)
    if not joined.index.is_monotonic_increasing:
        joined, folds = joined.sort_index(), folds.sort_index()
    return Member(*key, tuple(group), joined, folds)


def classes_of(runs: Sequence[Run]) -> list[str]:
    """The classes all runs share, in the order of the first; ValueError names the run that has others."""
    classes = runs[0].manifest["classes"]
    for run in runs[1:]:
        others = run.manifest["classes"]
        if set(others) != set(classes):
            raise ValueError(
                f"runs of one ensemble must have the same classes; {run.folder} lacks "
                f"{sorted(set(classes) - set(others))[:5]} and has {sorted(set(others) - set(classes))[:5]} "
                f"that {runs[0].folder} lacks"
            )
    return classes


def check_tables(runs: Sequence[Run]) -> None:
    """Raise ValueError unless all runs were trained on one table, so that no row judged was trained on."""
    for run in runs[1:]:
        if run.manifest["table"] != runs[0].manifest["table"]:
            raise ValueError(
                "runs of one ensemble must share table and folds, or rows that one held out were trained on by "
                f"another; {run.folder} and {runs[0].folder} differ"
            )


def check_predicted(runs: Sequence[Run]) -> None:
    """FileNotFoundError for a run without a test.csv: known before anything is judged."""
    for run in runs:
        run.file("test")


def labels_of(runs: Sequence[Run]) -> pd.DataFrame:
    """The labels of every row that the runs held out: one row an image id, one column a class, sorted by name.

    Files of the same bytes are read once. ValueError where two runs give a row different labels.
    """
    classes = sorted(classes_of(runs))
    different: dict[bytes, Run] = {}
    for run in runs:
        different.setdefault(digest_of(run / "labels.csv"), run)
    tables = {run: checked(run, "labels")[classes] for run in different.values()}
    joined = pd.concat(list(tables.values()))
    joined = joined[~joined.index.duplicated()]
    for run, table in tables.items():
        odd = table.index[(table != joined.loc[table.index]).any(axis=1)]
        if len(odd):
            raise ValueError(
                f"runs of one ensemble must give each row the same label; {run.folder}/labels.csv has others than the "
                f"runs before it for {len(odd)} rows, first {odd[0]!r}"
            )
    return joined


def common_ids(found: Sequence[tuple[str, pd.Index]], rule: str, *, partial: bool) -> pd.Index:
    """The ids that all of these named indexes have, in the order of the first.

    ValueError where they differ, unless `partial`; it begins with `rule` and names who lacks which ids.
    """
    first_name, first = found[0]
    for name, ids in found[1:]:
        if partial or ids.equals(first):
            continue
        pairs = ((name, first_name, first.difference(ids)), (first_name, name, ids.difference(first)))
        for lacking, other, odd in pairs:
            if len(odd):
                raise ValueError(f"{rule}; {lacking} lacks {len(odd)} ids that {other} has, first {list(odd[:3])}")
    for _, ids in found[1:]:
        if not ids.equals(first):
            first = first[first.isin(ids)]
    return first


def rows_of(frame: pd.DataFrame, ids: pd.Index) -> np.ndarray:
    """The rows of these ids (rows, classes), not copied where they are all of them in that order."""
    chosen = frame if frame.index.equals(ids) else frame.loc[ids]
    return chosen.to_numpy(np.float64)


@dataclass(frozen=True)
class HeldOut:
    """The rows that every member held out, sorted by id, in arrays: what ensembles are fitted and judged on.

    `values` has shape (members, rows, classes), `labels` (rows, classes), `parts` (rows,) for nested cross-validation;
    `own_folds` says whether the parts are the runs' folds.
    """

    ids: pd.Index
    classes: list[str]
    values: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    own_folds: bool

    @property
    def label_frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.labels, self.ids, self.classes)


def held_out(found: Sequence[Member], *, partial: bool = False) -> HeldOut | None:
    """Join the members' held-out rows; None where they share none. ValueError where they differ, unless `partial`."""
    named = [(described(member), member.probabilities.index) for member in found]
    ids = common_ids(named, f"members of one ensemble must hold out the same rows{UNLESS}", partial=partial)
    if not len(ids):
        return None
    labels = labels_of([run for member in found for run in member.runs])
    unlabelled = ids.difference(labels.index)
    if len(unlabelled):
        folder = found[0].folder_of(unlabelled[0])
        raise ValueError(f"{folder}/labels.csv lacks {len(unlabelled)} ids of its oof.csv, first {unlabelled[0]!r}")
    classes = list(found[0].probabilities.columns)
    truth = labels.loc[ids, classes].to_numpy(np.float64)
    values = np.stack([rows_of(member.probabilities, ids) for member in found])
    folds = [member.folds[ids].to_numpy() for member in found]
    own = len(set(folds[0])) > 1 and all((other == folds[0]).all() for other in folds)
    return HeldOut(ids, classes, values, truth, folds[0] if own else stratified(truth, PARTS), own)


def described(member: Member) -> str:
    others = f" and {len(member.runs) - 1} more runs" if len(member.runs) > 1 else ""
    return f"{member.name} ({member.runs[0].folder}{others})"


def test_predictions(
    found: Sequence[Member], *, temperatures: np.ndarray | None = None, partial: bool = False
) -> list[pd.DataFrame]:
    """Each member's test predictions, the mean of its runs' test.csv, all with the same ids and classes (by name).

    Temperatures (members,) are applied to each run before that mean, for they were fitted on single runs.
    """
    rule = f"runs of one ensemble must predict the same rows{UNLESS}"
    frames: list[pd.DataFrame] = []
    first: tuple[str, pd.Index] | None = None
    tables = read_all([run for member in found for run in member.runs], "test")
    for number, member in enumerate(found):
        parts = []
        for run in member.runs:
            part = next(tables)
            name = f"{run.folder}/test.csv"
            first = first or (name, part.index)
            ids = common_ids([first, (name, part.index)], rule, partial=partial)
            values = rows_of(part, ids)
            if temperatures is not None:
                values = temperature.apply(values, temperatures[number])
            parts.append(pd.DataFrame(values, ids, part.columns))
            first = (first[0], ids)
        frames.append(parts[0] if len(parts) == 1 else frame_mean(parts, parts[-1].index))
    if not len(frames[-1]):
        raise ValueError(f"{rule}; these have no id in common")
    ids = frames[-1].index  # the fewest
    return [frame if frame.index.equals(ids) else frame.loc[ids] for frame in frames]


def most_test_rows(runs: Sequence[Run]) -> int:
    """How many test rows the run that predicts the most of them has."""
    return max(len(run.probabilities("test")) for run in runs)


def frame_mean(frames: Sequence[pd.DataFrame], ids: pd.Index) -> pd.DataFrame:
    values = mean([rows_of(frame, ids) for frame in frames])
    return pd.DataFrame(values, ids, frames[0].columns)
