"""Labelled and test images in one list, so that both are compared with each other."""

from dataclasses import dataclass

import numpy as np

from kcomp.check.data_set import DataSet
from kcomp.check.pictures import picture_of
from kcomp.data.tables import Image
from kcomp.data.value_range import ValueRange
from kcomp.measurements.facts import Facts
from kcomp.report.page import Picture


@dataclass(frozen=True)
class Pooled:
    """All images of a data set: first the labelled rows, then the test rows.

    Attributes:
        facts: Measurements of the images.
        ids: The image ids.
        images: The images.
        is_test: Whether each image belongs to the test rows, bool (images,).
        ranges: The pixel ranges that become 0 to 255, of the labelled and of the test rows.
    """

    facts: Facts
    ids: list[str]
    images: list[Image]
    is_test: np.ndarray
    ranges: tuple[ValueRange | None, ValueRange | None]

    def picture(self, row: int, *lines: str) -> Picture | None:
        """Return a thumbnail of an image with its id and further lines. Return None if it cannot be decoded."""
        image_id = f"{self.ids[row]} (test)" if self.is_test[row] else self.ids[row]
        return picture_of(self.images[row], self.ranges[int(self.is_test[row])], [image_id, *lines])


def pool(data_set: DataSet) -> Pooled:
    """Return all images of a data set."""
    table, test, facts = data_set.table, data_set.test, data_set.facts
    if test is None or data_set.test_facts is None:
        return Pooled(facts, table.ids, table.images, np.zeros(len(table), bool), (table.value_range, None))
    return Pooled(
        facts.joined(data_set.test_facts),
        table.ids + test.ids,
        table.images + test.images,
        np.arange(len(table) + len(test)) >= len(table),
        (table.value_range, test.value_range if test.value_range is not None else table.value_range),
    )
