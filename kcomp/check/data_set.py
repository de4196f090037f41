"""The data set that `kcomp check` checks."""

from dataclasses import dataclass

import numpy as np

from kcomp.data.bad_images import RepeatedId
from kcomp.data.tables import Table
from kcomp.measurements.facts import Facts
from kcomp.metrics import Metric


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The labelled rows, the test rows, and measurements of their images.

    Rows whose image cannot be decoded are in `table` and `facts`. Their features are NaN.

    Attributes:
        table: The labelled rows, with their folds.
        facts: Measurements of the labelled images, in row order.
        metric: The metric of the competition.
        test: The test rows, or None.
        test_facts: Measurements of the test images, or None.
        features: Features of the labelled images from a frozen pretrained network, float32 (rows, dimensions). None in
            a check without features.
        test_features: The same features of the test images, or None.
        predictions: Out-of-fold predictions, averaged over runs, float64 (rows, prediction columns). Rows that no run
            held out are NaN. None without runs.
        left_out: Paths of damaged and missing images. The recipe leaves out their rows (`on_bad="drop"`), but `table`
            and `facts` have these rows.
        repeated: The ids that occur in several rows by mistake. `table` has only the first row of each id.
        notices: Texts that were printed when the table was read; see `kcomp.system.notices.record_notices`.
        seed: Seed of all random draws of the checks.
    """

    table: Table
    facts: Facts
    metric: Metric
    test: Table | None = None
    test_facts: Facts | None = None
    features: np.ndarray | None = None
    test_features: np.ndarray | None = None
    predictions: np.ndarray | None = None
    left_out: frozenset[str] = frozenset()
    repeated: tuple[RepeatedId, ...] = ()
    notices: tuple[str, ...] = ()
    seed: int = 0
