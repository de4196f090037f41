"""Read the probabilities of many runs with threads, and check them. Imports no Keras."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from kcomp.ensemble.submission import find_value_problems
from kcomp.runs.folder import Run

BATCH = 8  # tables read at once, which bounds memory


def read_checked(run: Run, name: str) -> pd.DataFrame:
    """Read the run's `oof`, `labels` or `test`, with classes sorted by name.

    Raises ValueError unless the file holds probabilities of the run's classes.
    """
    frame, classes = run.probabilities(name), sorted(run.manifest["classes"])
    if sorted(frame.columns) != classes:
        raise ValueError(
            f"{run.folder}/{name}.csv must have the run's classes {classes} as columns; it has {list(frame.columns)}"
        )
    problems = find_value_problems(frame)
    if problems:
        raise ValueError(f"{run.folder}/{name}.csv must hold probabilities: {'; '.join(problems)}")
    return frame if list(frame.columns) == classes else frame[classes]


def hash_file(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes; a missing file counts as empty, and reading it later raises the error."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest()


def read_all(runs: Sequence[Run], name: str) -> Iterator[pd.DataFrame]:
    """Yield `read_checked` of each run, in order. One thread per core: pandas' CSV parser releases the GIL."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(runs), BATCH):
            yield from pool.map(lambda run: read_checked(run, name), runs[start : start + BATCH])
