"""Lock files, so that two processes do not do the same work. A lock is released when its process ends."""

import time
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout


class HeldLock:
    """A lock that this process holds. `close` or the end of a `with` block releases the lock."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    @property
    def closed(self) -> bool:
        return not self._lock.is_locked

    def close(self) -> None:
        self._lock.release(force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def wait_for_lock(path: Path) -> HeldLock:
    """Wait until no other process holds the lock on a file. Then take the lock and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    lock.acquire()
    return HeldLock(lock)


def try_lock(path: Path, *, attempts: int = 1, pause: float = 0.05) -> HeldLock | None:
    """Take the lock on a file and return it. Return None if another process holds the lock.

    Args:
        path: The file.
        attempts: How often to try, for locks that other processes take for a moment.
        pause: Seconds between two attempts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return HeldLock(lock)
    return None
