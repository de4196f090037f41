"""The mean of runs' probabilities, joined by image id and class name, judged out of fold. Imports no Keras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp import scores
from kcomp.runs import Run, made_by


@dataclass(frozen=True)
class Member:
    """The runs that differ only in their fold: one model of the ensemble, scored over all rows it held out."""

    name: str
    runs: tuple[Run, ...]
    probabilities: pd.DataFrame


def members(runs: Sequence[Run]) -> list[Member]:
    """Group runs by recipe, fingerprint, backend and seed; ValueError where two runs held the same rows out."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        kept = run.manifest
        groups.setdefault(f"{kept['recipe']} {kept['fingerprint']} {made_by(kept)} seed {kept['seed']}", []).append(run)
    found = []
    for name, group in groups.items():
        parts = [run.probabilities("oof")[classes_of(runs)] for run in group]
        joined = pd.concat(parts)
        double = joined.index[joined.index.duplicated()]
        if len(double):
            raise ValueError(
                f"two runs of {name} hold out the same rows, first {double[0]!r}: {[str(run.folder) for run in group]}"
            )
        found.append(Member(name, tuple(group), joined.sort_index()))
    return found


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


def labels_of(runs: Sequence[Run]) -> pd.DataFrame:
    """The labels of every row that the runs held out: one row an image id, one column a class."""
    joined = pd.concat([run.probabilities("labels")[classes_of(runs)] for run in runs])
    return joined[~joined.index.duplicated()]


def check_tables(runs: Sequence[Run]) -> None:
    """Raise ValueError unless all runs were trained on one table, so that no row judged was trained on."""
    for run in runs[1:]:
        if run.manifest["table"] != runs[0].manifest["table"]:
            raise ValueError(
                "runs of one ensemble must share table and folds, or rows that one held out were trained on by "
                f"another; {run.folder} and {runs[0].folder} differ"
            )


def mean(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of tables with the same ids (index) and columns, in the order of the first."""
    first = frames[0]
    total = np.zeros(first.shape, np.float64)
    for frame in frames:
        total += frame.reindex(index=first.index, columns=first.columns).to_numpy(np.float64)
    return pd.DataFrame(total / len(frames), index=first.index, columns=first.columns)


def test_mean(found: Sequence[Member]) -> pd.DataFrame:
    """The mean of the members' test predictions, each the mean of its runs' test.csv: the ensemble that is judged.

    ValueError names a run whose ids differ from the first one's, and the first such ids.
    """
    frames = test_frames([run for member in found for run in member.runs])
    parts = iter(frames)
    return mean([mean([next(parts) for _ in member.runs]) for member in found])


def test_frames(runs: Sequence[Run]) -> list[pd.DataFrame]:
    classes = classes_of(runs)
    frames: list[pd.DataFrame] = []
    for run in runs:
        frame = run.probabilities("test")
        if sorted(frame.columns) != sorted(classes):
            raise ValueError(
                f"{run.folder}/test.csv has the columns {list(frame.columns)}, the run's classes are {classes}"
            )
        if frames and set(frame.index) != set(frames[0].index):
            odd = sorted(set(frame.index) ^ set(frames[0].index))
            raise ValueError(
                f"runs of one ensemble must predict the same rows; {run.folder}/test.csv and {runs[0].folder}/test.csv "
                f"differ in {len(odd)} ids, first {odd[:3]}"
            )
        frames.append(frame[classes])
    return frames


@dataclass(frozen=True)
class Judgement:
    """Scores on the rows every member held out. `ensemble` is the mean of the members; nothing was chosen on them."""

    rows: int
    members: dict[str, dict[str, float]]
    ensemble: dict[str, float]


def judge(found: Sequence[Member], labels: pd.DataFrame) -> Judgement | None:
    """Score the members and their mean on the rows that every one of them held out; None where there is no such row."""
    shared = set(labels.index).intersection(*(member.probabilities.index for member in found))
    if not shared:
        return None
    rows = sorted(shared)
    frames = [member.probabilities.loc[rows] for member in found]
    truth = labels.loc[rows, frames[0].columns].to_numpy()
    each = {member.name: scores.score(truth, frame.to_numpy()) for member, frame in zip(found, frames, strict=True)}
    return Judgement(len(rows), each, scores.score(truth, mean(frames).to_numpy()))
