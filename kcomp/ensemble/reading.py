"""The probabilities of many runs, checked, and read by threads: parsing CSV frees the GIL. Imports no Keras."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from kcomp.ensemble.submission import value_problems
from kcomp.runs.folder import Run

AHEAD = 8  # tables that wait to be taken at most, which bounds memory


def checked(run: Run, name: str) -> pd.DataFrame:
    """The run's `oof`, `labels` or `test`, classes by name; ValueError unless it has probabilities of its classes."""
    frame, classes = run.probabilities(name), sorted(run.manifest["classes"])
    if sorted(frame.columns) != classes:
        raise ValueError(
            f"{run.folder}/{name}.csv has the columns {list(frame.columns)}, the run's classes are {classes}"
        )
    problems = value_problems(frame)
    if problems:
        raise ValueError(f"{run.folder}/{name}.csv must hold probabilities: {'; '.join(problems)}")
    return frame if list(frame.columns) == classes else frame[classes]


def digest_of(path: Path) -> bytes:
    """A hash of the file's bytes; of no bytes where it is missing, which reading it explains."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest()


def read_all(runs: Sequence[Run], name: str) -> Iterator[pd.DataFrame]:
    """`checked` of each run, in order, read by as many threads as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(runs), AHEAD):
            yield from pool.map(lambda run: checked(run, name), runs[start : start + AHEAD])
