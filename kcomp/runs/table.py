"""The rows of the table that `kcomp runs` prints."""

from collections.abc import Mapping
from typing import Any

from kcomp.metrics import scores
from kcomp.runs.folder import Run, made_by


def run_row(run: Run) -> dict[str, Any]:
    """Return a run's row by column. `seconds` of an incomplete run is "unfinished", of a damaged run "damaged"."""
    try:
        manifest, result = run.manifest, run.result if run.complete else None
    except (ValueError, OSError):
        names = ("recipe", "fingerprint", "backend", "fold", "seed", "average", *scores.NAMES)
        return dict.fromkeys(names, "-") | {"seconds": "damaged", "folder": str(run.folder)}
    row = {name: manifest[name] for name in ("recipe", "fingerprint")}
    row |= {"backend": made_by(manifest), "fold": manifest["fold"], "seed": manifest["seed"]}
    if result is None:
        row |= dict.fromkeys(("average", *scores.NAMES), "-")
        return row | {"seconds": "unfinished", "folder": str(run.folder)}
    row |= {"average": describe_average(result.get("average") or {}), **result["scores"]}
    return row | {"seconds": round(result["seconds"]), "folder": str(run.folder)}


def describe_average(average: Mapping[str, Any]) -> str:
    """Return what the run's predictions average: "3 snapshots", "EMA", "SWA", or "-" for one epoch's weights."""
    snapshots = average.get("weights", [])
    if snapshots:
        return f"{len(snapshots)} snapshot{'' if len(snapshots) == 1 else 's'}"
    return str(average["method"]) if average.get("accepted") else "-"
