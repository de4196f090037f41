"""Join the predictions of several models by image id and column name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.ensembles.members import Member, describe_member, read_labels
from kcomp.ensembles.methods.calibration import Calibrator
from kcomp.ensembles.reading import read_all
from kcomp.runs.folder import Run
from kcomp.targets import Target

HINT = " (--allow-partial uses the rows that all have)"
PARTS = 5  # how many parts nested cross-validation has if the members have different folds


@dataclass(frozen=True)
class HeldOut:
    """Predictions and labels of the rows that no member of an ensemble was trained on, sorted by image id.

    Attributes:
        ids: The image ids.
        target: The target of the first run. It determines the order of the columns.
        values: Predictions, (members, rows, columns).
        labels: Labels, (rows, columns). NaN is a missing label.
        parts: The number of each row's part in nested cross-validation, (rows,).
        own_folds: Whether the parts are the folds of the runs.
    """

    ids: pd.Index
    target: Target
    values: np.ndarray
    labels: np.ndarray
    parts: np.ndarray
    own_folds: bool

    @property
    def label_frame(self) -> pd.DataFrame:
        """The labels as a table: one row for each image id, one column for each label column."""
        return pd.DataFrame(self.labels, self.ids, list(self.target.columns))


def common_ids(named_ids: Sequence[tuple[str, pd.Index]], rule: str, *, partial: bool, hint: str = "") -> pd.Index:
    """Return the ids that all indexes have in common, in the order of the first index.

    Args:
        named_ids: Pairs (name, ids). The name, such as that of a file, is used in error messages.
        rule: Start of the error message: a text that says which ids must be the same.
        partial: Whether the ids may differ.
        hint: End of the error message.

    Raises:
        ValueError: If the ids differ and `partial` is False. The message has examples of missing ids.
    """
    first_name, common = named_ids[0]
    for name, ids in named_ids[1:]:
        if partial or ids.equals(common):
            continue
        pairs = ((name, first_name, common.difference(ids)), (first_name, name, ids.difference(common)))
        for lacking, other, missing in pairs:
            if len(missing):
                raise ValueError(
                    f"{rule}; {lacking} lacks {len(missing)} ids that {other} has, first {list(missing[:3])}{hint}"
                )
    for _, ids in named_ids[1:]:
        if not ids.equals(common):
            common = common[common.isin(ids)]
    return common


def select_rows(frame: pd.DataFrame, ids: pd.Index) -> np.ndarray:
    """Return the rows with these ids as an array (ids, columns), in the order of `ids`."""
    selected = frame if frame.index.equals(ids) else frame.loc[ids]
    return selected.to_numpy(np.float64)


def join_held_out(members: Sequence[Member], *, partial: bool = False) -> HeldOut | None:
    """Return the held-out predictions of all members, joined by image id. None if no row was held out by every member.

    If `partial` is True, members may hold out different rows, and the rows in common are used.

    Raises:
        ValueError: If the members held out different rows and `partial` is False.
    """
    named_ids = [(describe_member(member), member.predictions.index) for member in members]
    rule = "members of one ensemble must hold out the same rows"
    ids = common_ids(named_ids, rule, partial=partial, hint=HINT)
    if not len(ids):
        return None
    label_frame = read_labels([run for member in members for run in member.runs])
    unlabelled = ids.difference(label_frame.index)
    if len(unlabelled):
        folder = members[0].folder_of(unlabelled[0])
        raise ValueError(f"{folder}/labels.csv lacks {len(unlabelled)} ids of its oof.csv, first {unlabelled[0]!r}")
    target = members[0].runs[0].target
    labels = label_frame.loc[ids, list(target.columns)].to_numpy(np.float64)
    columns = list(target.prediction_columns)
    values = np.stack([select_rows(member.predictions[columns], ids) for member in members])
    folds = [member.folds[ids].to_numpy() for member in members]
    own = len(set(folds[0])) > 1 and all((other == folds[0]).all() for other in folds)
    parts = folds[0] if own else stratified_parts(target.strata(labels), PARTS)
    return HeldOut(ids, target, values, labels, parts, own)


def predicted_ids(table: Table) -> pd.Index:
    """Return the id under which runs predict each row: the id of its item, such as a patient, or else of its image,
    (rows,).
    """
    return pd.Index(table.frame["item" if "item" in table.frame else "image_id"].astype(str))


def held_out_by_member(members: Sequence[Member], ids: pd.Index, target: Target) -> np.ndarray:
    """Return the predictions of each member for the rows `ids`, float64 (members, ids, prediction columns).

    They are NaN for an id that the member did not hold out. Ids may repeat. `target` determines the order of the
    columns.
    """
    columns = list(target.prediction_columns)
    return np.stack([member.predictions[columns].reindex(ids).to_numpy(np.float64) for member in members])


def average_held_out(by_member: np.ndarray, target: Target) -> np.ndarray:
    """Return the mean prediction (rows, columns) of the members that held out each row. It is NaN if no member did.

    `by_member` has the shape (members, rows, columns), with NaN for the members that did not hold out a row.
    """
    present = ~np.isnan(by_member).any(2)
    averaged = np.full(by_member.shape[1:], np.nan)
    for pattern in np.unique(present[:, present.any(0)], axis=1).T:
        rows = (present == pattern[:, None]).all(0)
        averaged[rows] = target.average([values[rows] for values in by_member[pattern]])
    return averaged


def join_test_predictions(
    members: Sequence[Member], *, calibrators: Sequence[Calibrator] | None = None, partial: bool = False
) -> list[pd.DataFrame]:
    """Return a table for each member: its test predictions, averaged over its runs.

    All tables have the same ids and columns.

    Args:
        members: The members.
        calibrators: The calibration of each member. None for no calibration. The predictions of each run are calibrated
            before the runs are averaged.
        partial: Whether runs may predict different rows. Only the rows in common are returned.
    """
    rule = "runs that are combined must predict the same rows"
    target, frames = members[0].runs[0].target, list[pd.DataFrame]()
    columns = list(target.prediction_columns)
    common: tuple[str, pd.Index] | None = None
    tables = read_all([run for member in members for run in member.runs], "test")
    for number, member in enumerate(members):
        parts = []
        for run in member.runs:
            part = next(tables)[columns]
            name = f"{run.folder}/test.csv"
            common = common or (name, part.index)
            ids = common_ids([common, (name, part.index)], rule, partial=partial, hint=HINT)
            values = select_rows(part, ids)
            if calibrators is not None:
                values = calibrators[number](values)
            parts.append(pd.DataFrame(values, ids, part.columns))
            common = (common[0], ids)
        frames.append(parts[0] if len(parts) == 1 else average_frames(parts, parts[-1].index, target))
    ids = frames[-1].index  # the last run's ids are those that all runs have
    if not len(ids):
        raise ValueError(f"{rule}; these have no id in common")
    return [frame if frame.index.equals(ids) else frame.loc[ids] for frame in frames]


def average_frames(frames: Sequence[pd.DataFrame], ids: pd.Index, target: Target) -> pd.DataFrame:
    values = target.average([select_rows(frame, ids) for frame in frames])
    return pd.DataFrame(values, ids, frames[0].columns)


def count_most_test_rows(runs: Sequence[Run]) -> int:
    return max(len(run.probabilities("test")) for run in runs)
