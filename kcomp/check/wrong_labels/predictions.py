"""Match the out-of-fold predictions of runs with the rows of a table."""

from collections.abc import Sequence

import numpy as np

from kcomp.data.tables import Table
from kcomp.ensembles.joins import average_held_out, held_out_by_member, predicted_ids
from kcomp.ensembles.members import build_members, shared_target
from kcomp.runs.folder import Run
from kcomp.system.errors import UsageError


def out_of_fold(runs: Sequence[Run], table: Table) -> np.ndarray:
    """Return the out-of-fold predictions of runs for the rows of a table, float64 (rows, prediction columns).

    Several predictions for a row are averaged. Rows that no run held out are NaN. If the runs predict items, such as
    patients, all rows of an item have the prediction of the item.

    Raises:
        ValueError: If the runs have different targets, or two runs that differ only in their fold held out the same
            row.
        UsageError: If the runs predict other classes or numbers than those of the table, or none of its rows.
    """
    target = table.required_target
    if not target.has_labels_of(shared_target(runs)):
        raise UsageError(
            f"{runs[0].folder} predicts other classes or numbers than the recipe has: {target.columns[:5]}"
        )
    by_member = held_out_by_member(build_members(runs), predicted_ids(table), target)
    joined = average_held_out(by_member, target)
    if np.isnan(joined).all():
        raise UsageError(f"the runs predict no row of this table; {runs[0].folder} has other image ids")
    return joined
