"""Collect all runs below one or more folders."""

from collections.abc import Sequence
from pathlib import Path

from kcomp.runs.folder import Run, find


def collect_runs(paths: Sequence[Path], *, complete: bool = True) -> list[Run]:
    """Return the runs in these folders and their subfolders, without repetitions.

    complete: Whether all runs must be complete.

    Raises:
        ValueError: If a folder contains no run.
        RuntimeError: If `complete` is True and a run is not complete.
    """
    runs: dict[Path, Run] = {}
    for path in paths:
        runs_below = find(path)
        if not runs_below:
            raise ValueError(f"no run at or below {path}; runs are folders with a manifest.json")
        runs |= {run.folder: run for run in runs_below if run.folder not in runs}
    unfinished = [str(run.folder) for run in runs.values() if not run.complete]
    if complete and unfinished:
        verb = "is" if len(unfinished) == 1 else "are"
        raise RuntimeError(
            f"{len(unfinished)} of {len(runs)} runs {verb} not complete, first {unfinished[0]}; run the same "
            "`kcomp train` again to finish, or name complete runs alone (`kcomp runs` shows which)"
        )
    return list(runs.values())
