"""The rows of the table that `kcomp runs` prints."""

from typing import Any

from kcomp.metrics import scores
from kcomp.runs.folder import Run, made_by


def run_row(run: Run) -> dict[str, Any]:
    """Return a run's row by column. `seconds` of an incomplete run is "unfinished", of a damaged run "damaged"."""
    try:
        manifest, result = run.manifest, run.result if run.complete else None
    except (ValueError, OSError):
        unknown = ("recipe", "fingerprint", "backend", "fold", "seed", *scores.NAMES)
        return dict.fromkeys(unknown, "-") | {"seconds": "damaged", "folder": str(run.folder)}
    row = {name: manifest[name] for name in ("recipe", "fingerprint")}
    row |= {"backend": made_by(manifest), "fold": manifest["fold"], "seed": manifest["seed"]}
    if result is None:
        return row | dict.fromkeys(scores.NAMES, "-") | {"seconds": "unfinished", "folder": str(run.folder)}
    return row | result["scores"] | {"seconds": round(result["seconds"]), "folder": str(run.folder)}
