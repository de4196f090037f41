"""Find labels that are probably wrong, by comparison with the out-of-fold predictions of all runs."""

import numpy as np
import pandas as pd

from kcomp.check.data_set import DataSet
from kcomp.check.wrong_labels.part import checked_columns, wrong_label_part
from kcomp.data.tables import Table
from kcomp.explain.held_out.rows import HeldOutRows
from kcomp.measurements import Facts
from kcomp.report.part import Part


def find_wrong_labels(rows: HeldOutRows) -> tuple[Part, pd.DataFrame]:
    """Find labels that the mean prediction of all models contradicts, by the rule of `kcomp check`.

    Returns:
        Two things: the part of the page, and two columns of errors.csv. `label_error` is the probability that the label
            is wrong. `likely_label` is the most likely other label, if this probability is above 0.5. For rows that
            were not tested, the columns have NaN and "".
    """
    table = labelled_table(rows)
    data_set = DataSet(table=table, facts=Facts.of([]), metric=rows.scorer.metric, predictions=rows.predictions)
    columns = checked_columns(data_set) or []
    part = wrong_label_part(data_set, columns)
    part.section.title = "Wrong labels"
    probability, doubt = np.full(len(rows), np.nan), np.full(len(rows), -np.inf)
    likely = np.full(len(rows), "", dtype=object)
    names_column = len(rows.target.columns) > 1 and not rows.target.class_names  # "grams about 12"
    for column in columns:
        worse = column.errors.doubt > doubt[column.rows]
        chosen = column.rows[worse]
        probability[chosen], doubt[chosen] = column.errors.wrong[worse], column.errors.doubt[worse]
        texts = [f"{column.name} {text}" for text in column.likely] if names_column else column.likely
        likely[chosen] = np.array(texts, dtype=object)[worse]
    likely[~(probability > 0.5)] = ""
    return part, pd.DataFrame({"label_error": probability, "likely_label": likely})


def labelled_table(rows: HeldOutRows) -> Table:
    """Return a table of the held-out rows, with the labels of the runs. It has images if they can be read."""
    images = [""] * len(rows) if rows.table is None else rows.table.images
    value_range = None if rows.table is None else rows.table.value_range
    frame = pd.DataFrame({"image_id": rows.ids.astype(str), "fold": rows.folds})
    labels = pd.DataFrame(rows.labels, columns=list(rows.target.columns))
    frame["image"] = pd.Series(images, frame.index, dtype=object)
    return Table(pd.concat([frame, labels], axis=1), rows.target, value_range=value_range)
