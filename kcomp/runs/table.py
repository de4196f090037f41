"""The table of runs that `kcomp runs` prints."""

from typing import Any

from kcomp.metrics import scores
from kcomp.runs.folder import Run, made_by


def run_row(run: Run) -> dict[str, Any]:
    """What `kcomp runs` shows of a run; of a damaged one, that it is."""
    try:
        kept, result = run.manifest, run.result if run.complete else None
    except (ValueError, OSError):
        unknown = ("recipe", "fingerprint", "backend", "fold", "seed", *scores.NAMES)
        return dict.fromkeys(unknown, "-") | {"seconds": "damaged", "folder": str(run.folder)}
    row = {"recipe": kept["recipe"], "fingerprint": kept["fingerprint"], "backend": made_by(kept)}
    row |= {"fold": kept["fold"], "seed": kept["seed"]}
    if result is None:
        return row | dict.fromkeys(scores.NAMES, "-") | {"seconds": "unfinished", "folder": str(run.folder)}
    return row | result["scores"] | {"seconds": round(result["seconds"]), "folder": str(run.folder)}
