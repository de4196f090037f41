"""Lock the folder of a run, so that only one process at a time trains the run."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from kcomp.runs.folder import ATTEMPTS, BEFORE, STATE, Run
from kcomp.system.errors import BusyError
from kcomp.system.files import remove_leftovers
from kcomp.system.locks import try_lock


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Hold the lock of a run inside a `with` block.

    If an error ends the block before a new run has saved its first epoch, the files of the run are removed.

    Raises:
        ValueError: If the folder contains files but is not a run.
        BusyError: If another process holds the lock.
    """
    check_run_folder(run)
    begun = (run / "manifest.json").is_file()
    new_folders = [folder for folder in (run.folder, *run.folder.parents) if not folder.exists()]
    run.folder.mkdir(parents=True, exist_ok=True)
    before = set(run.folder.iterdir())
    lock = try_lock(run / "lock", attempts=ATTEMPTS)
    if lock is None:
        raise BusyError(f"another process is training {run.folder}; wait for it, or end it")
    with lock:
        remove_leftovers(run.folder)
        try:
            yield
        except BaseException:
            if not begun and not any((run / name).is_file() for name in (STATE, BEFORE)):
                discard(run, before, new_folders)
            raise


def check_run_folder(run: Run) -> None:
    """Raise ValueError if the folder contains files but is not a run."""
    if run.folder.is_dir() and not any((run / name).is_file() for name in ("manifest.json", "lock")):
        names = sorted(path.name for path in run.folder.iterdir())
        if names:
            raise ValueError(
                f"a run needs a new or empty folder; {run.folder} is no run and holds {len(names)} files or folders, "
                f"first {names[0]!r}. Choose another one with -o"
            )


def discard(run: Run, before: Set[Path], new_folders: Sequence[Path]) -> None:
    """Remove the files of a run that has just begun.

    Args:
        run: The run.
        before: Paths in the run's folder that must not be removed.
        new_folders: Folders to remove afterwards if they are empty, the innermost first.
    """
    for path in set(run.folder.iterdir()) - before:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in new_folders:
        with contextlib.suppress(OSError):  # the folder is not empty: it contains another run
            folder.rmdir()
