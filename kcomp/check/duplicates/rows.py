"""The labelled rows and the test rows of a data set in one list, for the search for duplicates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.data.tables import Image, Table, fold_columns
from kcomp.data.value_range import ValueRange


@dataclass(frozen=True)
class Rows:
    """The labelled rows, followed by the test rows.

    Attributes:
        ids: The image ids.
        images: The images.
        labelled: How many rows are labelled. The others are test rows.
        value_ranges: The pixel ranges that become 0 to 255 in the labelled and in the test images.
        folds: The fold columns, int (labelled rows, repeats). There are 0 repeats if the table has no folds.
        readable: Whether each image could be decoded, bool (rows,).
        bytes_hash: A hash of the bytes of each file. Empty for an array.
        pixels_hash: A hash of the pixels of each image.
        hashes: Perceptual hashes, uint64 (rows, 8); see `ImageFacts.hashes`.
        features: Frozen features, float32 (rows, dimensions), or None.
    """

    ids: Sequence[str]
    images: Sequence[Image]
    labelled: int
    value_ranges: tuple[ValueRange | None, ValueRange | None]
    folds: np.ndarray
    readable: np.ndarray
    bytes_hash: np.ndarray
    pixels_hash: np.ndarray
    hashes: np.ndarray
    features: np.ndarray | None

    def __len__(self) -> int:
        """Return the number of labelled rows and test rows."""
        return len(self.ids)

    def value_range(self, position: int) -> ValueRange | None:
        return self.value_ranges[int(position >= self.labelled)]


def rows_of(data_set: DataSet) -> Rows:
    """Return the labelled rows and the test rows of a data set."""
    tables, facts = [data_set.table], [data_set.facts]
    if data_set.test is not None and data_set.test_facts is not None:
        tables, facts = [*tables, data_set.test], [*facts, data_set.test_facts]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in facts])

    return Rows(
        ids=[image_id for table in tables for image_id in table.ids],
        images=[image for table in tables for image in table.images],
        labelled=len(data_set.table),
        value_ranges=(data_set.table.value_range, tables[-1].value_range),
        folds=folds_of(data_set.table),
        readable=joined("readable"),
        bytes_hash=joined("bytes_hash"),
        pixels_hash=joined("pixels_hash"),
        hashes=joined("hashes"),
        features=joined_features(data_set, has_test=len(tables) == 2),
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
