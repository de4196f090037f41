"""The members of an ensemble. A member is a group of runs that differ only in their fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.ensembles.reading import hash_file, read_all, read_checked
from kcomp.runs.folder import Run, member_of
from kcomp.targets import Target

MemberKey = tuple[str, str, str, int, int]  # recipe, fingerprint, backend, seed, repeat


@dataclass(frozen=True)
class Member:
    """One model of an ensemble: the runs that differ only in their fold.

    If rows were cut into folds several times (repeated folds), each repeat is a member.

    Attributes:
        recipe: Name of the recipe.
        fingerprint: Hash of the recipe and its values.
        backend: "jax", "torch", or a longer name for runs that use weights of both; see `kcomp.runs.folder.member_of`.
        seed: The seed of the runs.
        repeat: Number of the repeat, from 0; see `repeats` of `kcomp.data.folds`.
        runs: One run for each fold.
        predictions: The held-out rows of all runs, sorted by image id, with columns sorted by name.
        folds: The fold of each row of `predictions`.
    """

    recipe: str
    fingerprint: str
    backend: str
    seed: int
    repeat: int
    runs: tuple[Run, ...]
    predictions: pd.DataFrame
    folds: pd.Series

    @property
    def name(self) -> str:
        return f"{self.recipe} {self.fingerprint} {self.backend} {self.draw}"

    @property
    def draw(self) -> str:
        """A text with the seed, such as "seed 1", or "seed 1 repeat 2" if rows were cut into folds several times."""
        return f"seed {self.seed} repeat {self.repeat}" if self.repeat else f"seed {self.seed}"

    def folder_of(self, image_id: str) -> Path:
        fold = self.folds[image_id]
        return next(run.folder for run in self.runs if run.manifest["fold"] == fold)


def build_members(runs: Sequence[Run]) -> list[Member]:
    """Return the members of an ensemble, sorted by recipe, backend, seed and repeat.

    Raises:
        ValueError: If two runs of a member held out the same row, or if a file has invalid predictions.
    """
    groups: dict[MemberKey, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.manifest["fold"]):
        manifest = run.manifest
        key = (
            manifest["recipe"],
            manifest["fingerprint"],
            member_of(manifest),
            manifest["seed"],
            manifest.get("repeat", 0),
        )
        groups.setdefault(key, []).append(run)
    frames = read_all([run for key in sorted(groups) for run in groups[key]], "oof")
    return [build_member(key, groups[key], [next(frames) for _ in groups[key]]) for key in sorted(groups)]


def build_member(key: MemberKey, runs: Sequence[Run], frames: Sequence[pd.DataFrame]) -> Member:
    joined = pd.concat(frames) if len(frames) > 1 else frames[0]
    repeated = joined.index[joined.index.duplicated()]
    if len(repeated):
        holders = [str(run.folder) for run, frame in zip(runs, frames, strict=True) if repeated[0] in frame.index]
        raise ValueError(
            "the runs of one recipe, backend and seed must hold out different rows; "
            f"{repeated[0]!r} is held out by {' and '.join(holders)}"
        )
    numbers = [np.full(len(frame), run.manifest["fold"]) for run, frame in zip(runs, frames, strict=True)]
    folds = pd.Series(np.concatenate(numbers), joined.index)
    if not joined.index.is_monotonic_increasing:
        joined, folds = joined.sort_index(), folds.sort_index()
    return Member(*key, tuple(runs), joined, folds)


def shared_target(runs: Sequence[Run]) -> Target:
    """Return the target that all runs have. Raise ValueError if their targets differ."""
    target = runs[0].target
    for run in runs[1:]:
        other = run.target
        if target.has_labels_of(other):
            continue
        if other.name != target.name:
            raise ValueError(
                f"runs that are combined must have the same target; {runs[0].folder} has {target.name}, {run.folder} "
                f"{other.name}"
            )
        names, others = set(target.class_names or target.columns), set(other.class_names or other.columns)
        raise ValueError(
            f"runs that are combined must have the same classes or numbers; {run.folder} lacks "
            f"{sorted(names - others)[:5]} and has {sorted(others - names)[:5]} that {runs[0].folder} lacks"
        )
    return target


def check_same_table(runs: Sequence[Run]) -> None:
    """Raise ValueError unless all runs have the same rows, labels and folds.

    Otherwise a run may have been trained on rows that the ensemble is scored on.
    """
    for run in runs[1:]:
        if run.manifest["table"] != runs[0].manifest["table"]:
            raise ValueError(
                "runs that are combined must share rows, labels and folds, so that no run has trained on a row that "
                f"another held out; {run.folder} and {runs[0].folder} differ"
            )


def check_test_predictions(runs: Sequence[Run]) -> None:
    for run in runs:
        run.file("test")


def read_labels(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the labels of all held-out rows of the runs: one row for each image id, columns sorted by name.

    Raises:
        ValueError: If two runs have different labels for a row.
    """
    columns = sorted(shared_target(runs).columns)
    different: dict[bytes, Run] = {}
    for run in runs:
        different.setdefault(hash_file(run / "labels.csv"), run)
    tables = {run: read_checked(run, "labels")[columns] for run in different.values()}
    joined = pd.concat(list(tables.values()))
    joined = joined[~joined.index.duplicated()]
    for run, table in tables.items():
        first = joined.loc[table.index]
        contradicting = table.index[((table != first) & ~(table.isna() & first.isna())).any(axis=1)]
        if len(contradicting):
            raise ValueError(
                f"runs that are combined must give each row the same label; {run.folder}/labels.csv differs from the "
                f"runs before it in {len(contradicting)} rows, first {contradicting[0]!r}"
            )
    return joined


def check_label_rows(members: Sequence[Member]) -> None:
    """Raise ValueError if a run's oof.csv and labels.csv have different rows. One of the files is then damaged."""
    runs = [run for member in members for run in member.runs]
    predicted = [member.folds.index[member.folds == run.manifest["fold"]] for member in members for run in member.runs]
    for run, ids, labels in zip(runs, predicted, read_all(runs, "labels"), strict=True):
        different = ids.symmetric_difference(labels.index)
        if len(different):
            raise ValueError(
                f"oof.csv and labels.csv must have the same rows; those of {run.folder} differ in {len(different)}, "
                f"first {different[0]!r}; train this run again"
            )


def describe_member(member: Member) -> str:
    others = f" and {len(member.runs) - 1} more runs" if len(member.runs) > 1 else ""
    return f"{member.name} ({member.runs[0].folder}{others})"
