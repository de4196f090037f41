"""The labelled rows and the test rows of a data set in one list, for the search for duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.pooled import pool
from kcomp.data.tables import Image, Table, fold_columns
from kcomp.data.value_range import ValueRange
from kcomp.measurements.facts import Facts


@dataclass(frozen=True)
class Rows:
    """The labelled rows, followed by the test rows.

    Attributes:
        ids: The image ids.
        images: The images.
        labelled: How many rows are labelled. The others are test rows.
        value_ranges: The pixel ranges that become 0 to 255 in the labelled and in the test images.
        folds: The fold columns, int (labelled rows, repeats). There are 0 repeats if the table has no folds.
        facts: Measurements of the images.
        features: Frozen features, float32 (rows, dimensions), or None.
    """

    ids: Sequence[str]
    images: Sequence[Image]
    labelled: int
    value_ranges: tuple[ValueRange | None, ValueRange | None]
    folds: np.ndarray
    facts: Facts
    features: np.ndarray | None

    def __len__(self) -> int:
        """Return the number of labelled rows and test rows."""
        return len(self.ids)

    def value_range(self, position: int) -> ValueRange | None:
        return self.value_ranges[int(position >= self.labelled)]


def rows_of(data_set: DataSet) -> Rows:
    """Return the labelled rows and the test rows of a data set."""
    pooled, labelled = pool(data_set), len(data_set.table)
    return Rows(
        ids=pooled.ids,
        images=pooled.images,
        labelled=labelled,
        value_ranges=pooled.ranges,
        folds=folds_of(data_set.table),
        facts=pooled.facts,
        features=joined_features(data_set, has_test=len(pooled.ids) > labelled),
    )


def joined_features(data_set: DataSet, *, has_test: bool) -> np.ndarray | None:
    """Return the features of the labelled rows and of the test rows, or None unless all of them have features."""
    if data_set.features is None or not has_test:
        return data_set.features
    if data_set.test_features is None:
        return None
    return np.concatenate([data_set.features, data_set.test_features])


def folds_of(table: Table) -> np.ndarray:
    """Return the fold columns of a table, int (rows, repeats). Without folds, the shape is (rows, 0)."""
    return table.frame[fold_columns(table.frame)].to_numpy(int).reshape(len(table), -1)
