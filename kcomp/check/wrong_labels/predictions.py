"""Join the out-of-fold predictions of runs with the rows of a table."""

from collections.abc import Sequence

import numpy as np

from kcomp.data.tables import Table
from kcomp.ensembles.members import shared_target
from kcomp.ensembles.reading import read_all
from kcomp.runs.folder import Run
from kcomp.system.errors import UsageError


def out_of_fold(runs: Sequence[Run], table: Table) -> np.ndarray:
    """Return the out-of-fold predictions of runs for the rows of a table, float64 (rows, prediction columns).

    Predictions of several runs for a row are averaged. Rows that no run held out are NaN. If the runs predict items,
    such as patients, all rows of an item have its prediction.

    Raises:
        UsageError: If the runs predict other classes or numbers than those of the table, or none of its rows.
    """
    target, columns = table.required_target, list(table.required_target.prediction_columns)
    if not target.has_labels_of(shared_target(runs)):
        raise UsageError(f"{runs[0].folder} predicts other classes or numbers than the recipe has: {columns[:5]}")
    names = table.frame["item"].astype(str).tolist() if "item" in table.frame else table.ids
    predictions: list[list[np.ndarray]] = [[] for _ in names]
    for frame in read_all(runs, "oof"):
        values, rows_by_name = frame[columns].to_numpy(), {name: row for row, name in enumerate(frame.index)}
        for row, name in enumerate(names):
            if name in rows_by_name:
                predictions[row].append(values[[rows_by_name[name]]])
    joined = np.full((len(names), len(columns)), np.nan)
    for row, several in enumerate(predictions):
        if several:
            joined[row] = target.average(several)[0]
    if np.isnan(joined).all():
        raise UsageError(f"the runs predict no row of this table; {runs[0].folder} has other image ids")
    return joined
