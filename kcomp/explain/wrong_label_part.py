"""Show labels that are probably wrong, by the out-of-fold predictions of all runs."""

import pandas as pd

from kcomp.check.data_set import DataSet
from kcomp.check.wrong_labels.part import check_wrong_labels
from kcomp.data.tables import Table
from kcomp.explain.held_out import Rows
from kcomp.measurements import Facts
from kcomp.report.part import Part


def wrong_label_part(rows: Rows) -> Part:
    """Apply the rule of `kcomp check` to the mean prediction of all models. Without images, there are no pictures."""
    table = rows.table if rows.table is not None else table_without_images(rows)
    data_set = DataSet(table=table, facts=Facts.of([]), metric=rows.scorer.metric, predictions=rows.predictions)
    part = check_wrong_labels(data_set)
    part.section.title = "Wrong labels"
    return part


def table_without_images(rows: Rows) -> Table:
    """Return a table of the held-out rows, whose images cannot be read."""
    frame = pd.DataFrame({"image_id": rows.ids.astype(str), "image": "", "fold": rows.folds})
    labels = pd.DataFrame(rows.labels, columns=list(rows.target.columns))
    return Table(pd.concat([frame, labels], axis=1), rows.target)
