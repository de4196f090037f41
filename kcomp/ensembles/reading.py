"""Read the predictions of many runs in threads, and check them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from kcomp.runs.folder import Run

BATCH = 8  # how many tables are read at once; more need more memory


def read_checked(run: Run, name: str) -> pd.DataFrame:
    """Return a CSV file of a run as a table: a row for each image id, columns sorted by name.

    Args:
        run: The run.
        name: "oof" for the held-out predictions, "labels" for their true labels, "test" for the test predictions.

    Raises:
        ValueError: If the columns or values are invalid for the run's target.
    """
    frame, target = run.probabilities(name), run.target
    columns = list(target.columns if name == "labels" else target.prediction_columns)
    if sorted(frame.columns) != sorted(columns):
        raise ValueError(
            f"{run.folder}/{name}.csv must have the columns {sorted(columns)} of the run's target; it has "
            f"{list(frame.columns)}"
        )
    values, ids = frame[columns].to_numpy(), frame.index.to_list()
    if name == "labels":
        target.check_labels(values, ids)
    elif problems := target.prediction_problems(values, ids):
        raise ValueError(f"{run.folder}/{name}.csv has invalid predictions: {'; '.join(problems)}")
    return frame if list(frame.columns) == sorted(columns) else frame[sorted(columns)]


def hash_file(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest()


def read_all(runs: Sequence[Run], name: str) -> Iterator[pd.DataFrame]:
    """Yield the table of each run in order. `read_checked` describes the table."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(runs), BATCH):
            yield from pool.map(lambda run: read_checked(run, name), runs[start : start + BATCH])
