"""Collect the held-out rows of runs: labels, out-of-fold predictions, folds, and the rows of the recipe's table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.data.tables import Table
from kcomp.ensembles.cross_validation import stratified_parts
from kcomp.ensembles.joins import PARTS, average_held_out, held_out_by_member, predicted_ids
from kcomp.ensembles.members import Member, build_members, check_label_rows, read_labels, shared_target
from kcomp.metrics import Metric, get
from kcomp.metrics.scores import Scorer
from kcomp.runs.folder import Run
from kcomp.system.errors import error_line
from kcomp.targets import Target


@dataclass(frozen=True)
class HeldOutRows:
    """All rows that at least one run held out, sorted by image id.

    A member is a group of runs that differ only in their fold; see `kcomp.ensembles.members`.

    Attributes:
        members: The members, sorted by recipe, backend and seed.
        scorer: The metric and the target of the first run.
        ids: The image ids. If labels belong to items, such as patients, the ids of the items.
        labels: Float64 (rows, label columns). NaN is a missing label.
        by_member: Out-of-fold predictions of each member, float64 (members, rows, prediction columns). NaN in rows that
            the member did not hold out.
        predictions: The mean prediction of the members that held out the row, (rows, prediction columns).
        folds: The fold of each row, int (rows,), in the first member that held out the row.
        table: The rows of the recipe's table in the same order, with the first image of each item. None if the table
            cannot be read, or lacks an id.
        problem: Why there is no `table`. Empty if there is one.
    """

    members: tuple[Member, ...]
    scorer: Scorer
    ids: pd.Index
    labels: np.ndarray
    by_member: np.ndarray
    predictions: np.ndarray
    folds: np.ndarray
    table: Table | None
    problem: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def target(self) -> Target:
        return self.scorer.target

    @property
    def parts(self) -> np.ndarray:
        """The part of each row in nested cross-validation, int (rows,).

        The parts are the folds. If all rows are from one fold, they are stratified random parts.
        """
        if len(np.unique(self.folds)) > 1:
            return self.folds
        return stratified_parts(self.target.strata(self.labels), PARTS)

    @property
    def held_out_by(self) -> np.ndarray:
        """Whether each member held out each row, bool (members, rows)."""
        return ~np.isnan(self.by_member).any(2)

    def folds_of(self, place: int) -> np.ndarray:
        """Return the fold in which a member held out each row, int (rows,), or -1 if it did not hold out the row.

        `place` is the position of the member in `members`.
        """
        return self.members[place].folds.reindex(self.ids, fill_value=-1).to_numpy()

    @property
    def paths(self) -> list[str]:
        """The path of each row's image file. Empty for an image that is not a file, and without a table."""
        if self.table is None:
            return [""] * len(self)
        return [str(image) if isinstance(image, str | Path) else "" for image in self.table.images]


def collect_rows(runs: Sequence[Run]) -> HeldOutRows:
    """Read the out-of-fold predictions and labels of runs, and the recipe's table.

    The recipe of the first run defines the table and the metric.

    Raises:
        ValueError: If the runs have different targets or labels, two runs of one member held out the same row, or the
            files of a run have different rows.
        DamagedError: If a result.json is damaged. This is a ValueError, too.
    """
    for run in runs:
        _ = run.result  # raises an error if the file is damaged
    shared_target(runs)
    members = tuple(build_members(runs))
    check_label_rows(members)
    label_frame = read_labels([run for member in members for run in member.runs])
    target = members[0].runs[0].target
    ids = members[0].predictions.index
    for member in members[1:]:
        ids = ids.union(member.predictions.index)
    by_member = held_out_by_member(members, ids, target)
    folds = pd.Series(-1, ids)
    for member in reversed(members):
        folds[member.folds.index] = member.folds
    table, scorer, problem = read_recipe(members[0].runs[0], target)
    if table is not None:
        table, problem = rows_of_ids(table, ids)
    return HeldOutRows(
        members=members,
        scorer=scorer,
        ids=ids,
        labels=label_frame.loc[ids, list(target.columns)].to_numpy(np.float64),
        by_member=by_member,
        predictions=average_held_out(by_member, target),
        folds=folds.to_numpy(),
        table=table,
        problem=problem,
    )


def read_recipe(run: Run, target: Target) -> tuple[Table | None, Scorer, str]:
    """Return three things from the recipe of a run: the table or None, the `Scorer`, and why the table cannot be read.

    The last text is empty if there is a table. If the recipe cannot be loaded, the metric is looked up by its name.
    """
    try:
        recipe = run.recipe().recipe
        scorer = Scorer(recipe.metric_of(target), target)
    except Exception as error:  # noqa: BLE001  (recipes are programs and may raise any type)
        return None, Scorer(metric_by_name(run.manifest["metric"], target), target), error_line(error)
    try:
        return recipe.table(recipe.config), scorer, ""
    except Exception as error:  # noqa: BLE001  (same)
        return None, scorer, error_line(error)


def metric_by_name(name: str, target: Target) -> Metric:
    try:
        return get(name)
    except ValueError:  # the metric is a function of the recipe
        return get(target.default_metric)


def rows_of_ids(table: Table, ids: pd.Index) -> tuple[Table | None, str]:
    """Return two things: the rows of a table with these ids, in their order, and "".

    If an id is missing, return None and a text about it. If the table has items, such as patients, the ids belong to
    items, and each item has the row of its first image.
    """
    names = predicted_ids(table)
    first = np.flatnonzero(~names.duplicated())
    places = names[first].get_indexer(ids)
    missing = ids[places < 0]
    if len(missing):
        return None, f"the recipe's table lacks {len(missing)} of {len(ids)} ids of the runs, first {missing[0]!r}"
    return table.rows(first[places]), ""
