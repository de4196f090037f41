"""The labelled and the test rows of a data set in one list."""

from dataclasses import dataclass

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.pictures import picture_of
from kcomp.data.tables import Image, Table, fold_columns
from kcomp.data.value_range import ValueRange
from kcomp.measurements.facts import Facts
from kcomp.report.page import Picture


@dataclass(frozen=True)
class PooledRows:
    """All rows of a data set: first the labelled rows, then the test rows.

    Attributes:
        ids: The image ids.
        images: The images.
        is_test: Whether each row is a test row, bool (rows,).
        ranges: The `value_range` of the labelled table and of the test table; see `picture_of`.
        folds: The fold columns of the labelled rows, int (labelled rows, repeats). There are 0 repeats if the table has
            no folds.
        facts: Measurements of the images.
        features: Features from a frozen network, float32 (rows, dimensions). None unless all rows have features.
    """

    ids: list[str]
    images: list[Image]
    is_test: np.ndarray
    ranges: tuple[ValueRange | None, ValueRange | None]
    folds: np.ndarray
    facts: Facts
    features: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> int:
        return len(self.folds)

    def value_range(self, row: int) -> ValueRange | None:
        return self.ranges[int(self.is_test[row])]

    def picture(self, row: int, *lines: str) -> Picture | None:
        """Return a thumbnail of an image, with its id and `lines` below. Return None if it cannot be decoded."""
        image_id = f"{self.ids[row]} (test)" if self.is_test[row] else self.ids[row]
        return picture_of(self.images[row], self.value_range(row), [image_id, *lines])


def pool(data_set: DataSet) -> PooledRows:
    table, test = data_set.table, data_set.test
    if test is None or data_set.test_facts is None:
        return PooledRows(
            ids=table.ids,
            images=table.images,
            is_test=np.zeros(len(table), bool),
            ranges=(table.value_range, None),
            folds=folds_of(table),
            facts=data_set.facts,
            features=data_set.features,
        )
    has_features = data_set.features is not None and data_set.test_features is not None
    return PooledRows(
        ids=table.ids + test.ids,
        images=table.images + test.images,
        is_test=np.arange(len(table) + len(test)) >= len(table),
        ranges=(table.value_range, test.value_range if test.value_range is not None else table.value_range),
        folds=folds_of(table),
        facts=data_set.facts.joined(data_set.test_facts),
        features=np.concatenate([data_set.features, data_set.test_features]) if has_features else None,
    )


def folds_of(table: Table) -> np.ndarray:
    """Return the fold columns of a table, int (rows, repeats). Without folds, there are 0 repeats."""
    return table.frame[fold_columns(table.frame)].to_numpy(int).reshape(len(table), -1)
