"""Compare the results of two runs: their epochs, weights, predictions and scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.metrics.significance import Interval, paired_metric
from kcomp.runs.folder import Run
from kcomp.runs.scorer import scorer_of

TIMES = ("seconds", "images_per_second")  # columns of log.csv that differ each time


@dataclass(frozen=True)
class Differences:
    """How far the results of two complete runs differ.

    Attributes:
        epochs: How many epochs both runs have.
        first_epoch: The first epoch with another loss, rate or score. None if all common epochs are equal.
        weights: The largest absolute difference of the final weights; infinity if shapes or names differ.
        rows: How many held-out rows both runs predicted.
        other_rows: How many held-out rows only one of the runs predicted.
        predictions: The largest absolute difference of the predictions of common rows. NaN without common rows.
        score: Score of the first run - score of the second on common rows, with its 95 % interval. None if
            the predictions are equal, or if the runs have no common metric or rows.
    """

    epochs: int
    first_epoch: int | None
    weights: float
    rows: int
    other_rows: int
    predictions: float
    score: Interval | None

    @property
    def are_none(self) -> bool:
        """Whether epochs, weights and predictions are equal bit for bit."""
        equal = self.first_epoch is None and self.weights == 0 and self.predictions == 0
        return equal and self.other_rows == 0


def result_differences(first: Run, second: Run) -> Differences:
    """Compare the results of two complete runs."""
    tables = [run.oof for run in (first, second)]
    rows = tables[0].index.intersection(tables[1].index)
    predictions = largest_difference(tables, rows)
    logs = [run.log for run in (first, second)]
    return Differences(
        epochs=min(map(len, logs)),
        first_epoch=first_different_epoch(*logs),
        weights=weights_difference(first, second),
        rows=len(rows),
        other_rows=len(tables[0].index.symmetric_difference(tables[1].index)),
        predictions=predictions,
        score=None if predictions == 0 or not len(rows) else score_difference(first, second, rows),
    )


def first_different_epoch(first: pd.DataFrame, second: pd.DataFrame) -> int | None:
    """Return the number, from 1, of the first epoch that two logs do not have in common. None if the logs are equal.

    Times are not compared.
    """
    columns = [name for name in first if name not in TIMES]
    if columns != [name for name in second if name not in TIMES]:
        return 1
    count = min(len(first), len(second))
    logs = [log[columns].head(count).reset_index(drop=True) for log in (first, second)]
    different = ((logs[0] != logs[1]) & ~(logs[0].isna() & logs[1].isna())).any(axis=1).to_numpy()
    if different.any():
        return int(different.argmax()) + 1
    return None if len(first) == len(second) else count + 1


def largest_difference(tables: Sequence[pd.DataFrame], rows: pd.Index) -> float:
    """Return the largest absolute difference of two tables of predictions. Infinity if they have other columns."""
    if set(tables[0].columns) != set(tables[1].columns):
        return float("inf")
    if not len(rows):
        return float("nan")
    values = [table.loc[rows, list(tables[0].columns)].to_numpy(np.float64) for table in tables]
    return float(np.abs(values[0] - values[1]).max())


def weights_difference(first: Run, second: Run) -> float:
    """Return the largest absolute difference of the final weights of two runs. Infinity if names or shapes differ."""
    paths = [run.weights for run in (first, second)]
    if len(paths[0]) != len(paths[1]):
        return float("inf")
    largest = 0.0
    for pair in zip(*paths, strict=True):
        weights = [read_weights(path) for path in pair]
        shapes = [{name: array.shape for name, array in arrays.items()} for arrays in weights]
        if shapes[0] != shapes[1]:
            return float("inf")
        for name, array in weights[0].items():
            if array.tobytes() != weights[1][name].tobytes():
                difference = np.abs(array.astype(np.float64) - weights[1][name].astype(np.float64))
                largest = max([largest, float(difference.max()), float(np.finfo(np.float32).tiny)])
    return largest


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a .weights.h5 file by name."""
    import h5py

    arrays: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays


def score_difference(first: Run, second: Run, rows: pd.Index) -> Interval | None:
    """Return the difference of the scores on common rows. None if the runs have other targets, metrics or labels."""
    try:
        scorer = scorer_of([first, second])
    except ValueError:
        return None
    if first.target != second.target or not first.labels.loc[rows].equals(second.labels.loc[rows]):
        return None
    labels = first.labels.loc[rows].to_numpy()
    values = [run.oof.loc[rows].to_numpy() for run in (first, second)]
    return paired_metric(scorer.metric, labels, *values, target=scorer.target)
