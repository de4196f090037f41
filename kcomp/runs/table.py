"""Make the rows of the table that `kcomp runs` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from kcomp.runs.folder import Run, made_by

BEFORE = ("recipe", "fingerprint", "backend", "fold", "seed", "average")  # columns before the scores


def run_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a table row for each run: a dict of values by column. A missing value is "-".

    In the column "seconds", an incomplete run has "unfinished", and a damaged run has "damaged".
    """
    rows = [run_row(run) for run in runs]
    scores = dict.fromkeys(name for row in rows for name in row if name not in (*BEFORE, "seconds", "folder"))
    columns = (*BEFORE, *scores, "seconds", "folder")
    return [{name: row.get(name, "-") for name in columns} for row in rows]


def run_row(run: Run) -> dict[str, Any]:
    """Return the table row of a run: its values by column."""
    try:
        manifest, result = run.manifest, run.result if run.complete else None
    except (ValueError, OSError):
        return {"seconds": "damaged", "folder": str(run.folder)}
    row = {name: manifest[name] for name in ("recipe", "fingerprint", "fold", "seed")} | {"backend": made_by(manifest)}
    if result is None:
        return row | dict.fromkeys(manifest["scores"], "-") | {"seconds": "unfinished", "folder": str(run.folder)}
    row |= {"average": describe_average(result.get("average") or {}), **result["scores"]}
    return row | {"seconds": round(result["seconds"]), "folder": str(run.folder)}


def describe_average(average: Mapping[str, Any]) -> str:
    """Return "3 snapshots", "EMA" or "SWA" if a run uses averaged weights or predictions, else "-".

    `average` is the entry "average" of the run's result.json.
    """
    snapshots = average.get("weights", [])
    if snapshots:
        return f"{len(snapshots)} snapshot{'' if len(snapshots) == 1 else 's'}"
    return str(average["method"]) if average.get("accepted") else "-"
