"""Read the predictions of many runs in threads, and check them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from kcomp.runs.folder import Run
from kcomp.runs.probabilities import read_probabilities
from kcomp.targets import Target

BATCH = 8  # how many tables are read at once; more need more memory


def read_checked(run: Run, name: str) -> pd.DataFrame:
    """Return a CSV file of a run as a table: a row for each image id, columns sorted by name.

    Args:
        run: The run.
        name: "oof" for the held-out predictions, "labels" for their true labels, "test" for the test predictions.

    Raises:
        ValueError: If the columns or values are invalid for the run's target.
    """
    target = run.target
    columns = list(target.columns if name == "labels" else target.prediction_columns)
    frame = with_columns(run.probabilities(name), columns, run / f"{name}.csv")
    if name == "labels":
        try:
            target.check_labels(frame[columns].to_numpy(), frame.index.to_list())
        except ValueError as error:
            raise ValueError(f"{run / name}.csv: {error}") from error
    else:
        check_predictions(frame, target, run / f"{name}.csv")
    return frame


def read_prediction_file(path: Path, target: Target) -> pd.DataFrame:
    """Return a CSV file of predictions as a table: a row for each image id, columns sorted by name.

    Raises:
        ValueError: If the columns or values are invalid for the target.
    """
    frame = with_columns(read_probabilities(path), list(target.prediction_columns), path)
    check_predictions(frame, target, path)
    return frame


def with_columns(frame: pd.DataFrame, columns: list[str], path: Path) -> pd.DataFrame:
    """Return a table with the columns `columns`, sorted by name.

    Raise ValueError if the file `path`, from which the table was read, has other columns.
    """
    if sorted(frame.columns) != sorted(columns):
        raise ValueError(
            f"{path} must have the columns {sorted(columns)} of the run's target; it has {list(frame.columns)}"
        )
    return frame if list(frame.columns) == sorted(columns) else frame[sorted(columns)]


def check_predictions(frame: pd.DataFrame, target: Target, path: Path) -> None:
    values = frame[list(target.prediction_columns)].to_numpy()
    if problems := target.prediction_problems(values, frame.index.to_list()):
        raise ValueError(f"{path} has invalid predictions: {'; '.join(problems)}")


def hash_file(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest()


def read_all(runs: Sequence[Run], name: str) -> Iterator[pd.DataFrame]:
    """Yield the table of each run, as `read_checked` returns it, in the order of the runs."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(runs), BATCH):
            yield from pool.map(lambda run: read_checked(run, name), runs[start : start + BATCH])
