"""Detect which machines of a cluster can access the folder of the runs."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from kcomp.sweep.progress import SweepProgress
from kcomp.system.locks import try_lock, wait_for_lock

TOKEN = ".sweep-"  # prefix of files by which machines detect that they share storage


@contextlib.contextmanager
def storage_token(jobs: Sequence[SweepProgress]) -> Iterator[Path]:
    """Create a file beside the runs. Machines that find this file share the storage of the runs."""
    root = jobs[0].job.run.folder.resolve().parents[2]
    root.mkdir(parents=True, exist_ok=True)
    for old in root.glob(f"{TOKEN}*"):
        with contextlib.suppress(OSError):
            lock = try_lock(old)
            if lock is not None:  # a running sweep holds its lock
                with lock:
                    old.unlink()
    path = root / f"{TOKEN}{uuid.uuid4().hex}"
    with wait_for_lock(path):
        path.touch()  # another sweep may have removed it before the lock
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
