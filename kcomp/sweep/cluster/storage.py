"""Find out which machines of a cluster can access the run folders."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from kcomp.sweep.progress import SweepProgress
from kcomp.system.locks import try_lock, wait_for_lock

TOKEN = ".sweep-"  # beginning of the names of these files


@contextlib.contextmanager
def storage_token(jobs: Sequence[SweepProgress]) -> Iterator[Path]:
    """Create a file beside the runs inside a `with` block, and yield its path.

    A machine that finds this file can access the run folders.
    """
    root = jobs[0].job.run.folder.resolve().parents[2]
    root.mkdir(parents=True, exist_ok=True)
    for old in root.glob(f"{TOKEN}*"):
        with contextlib.suppress(OSError):
            lock = try_lock(old)
            if lock is not None:  # a sweep that still runs holds the lock on its own file
                with lock:
                    old.unlink()
    path = root / f"{TOKEN}{uuid.uuid4().hex}"
    with wait_for_lock(path):
        path.touch()  # another sweep may have removed the file before this process locked it
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
