"""Combine the predictions of runs from Python: `kcomp.ensemble`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kcomp.ensembles import METHODS
from kcomp.ensembles.joins import join_held_out, join_test_predictions
from kcomp.ensembles.members import build_members, check_same_table, describe_member
from kcomp.ensembles.scoring.ensemble import score_ensemble
from kcomp.runs.collect import collect_runs
from kcomp.runs.folder import Run
from kcomp.runs.scorer import scorer_of


@dataclass(frozen=True)
class EnsembleResult:
    """The scores and the test predictions of an ensemble.

    A member of an ensemble is one run, or several runs that differ only in their fold.

    Args:
        scores: Scores on held-out rows: one row for each member and one for the ensemble, one column for each metric.
        test: The predictions of the test rows, by image id. None if a run has no predictions of test rows.
    """

    scores: pd.DataFrame
    test: pd.DataFrame | None


def ensemble(
    runs: Sequence[Run | str | Path], *, method: str = "mean", metric: str | None = None, calibrate: str | None = None
) -> EnsembleResult:
    """Combine the predictions of runs, as the command `kcomp ensemble` does.

    A member of the ensemble is one run, or several runs that differ only in their fold.

    Args:
        runs: Complete runs, their folders, or folders that contain runs.
        method: How to combine the members: "mean", "median" or another method of `kcomp ensemble --method`.
        metric: Name of the metric that the method optimises. None for the metric of the recipe.
        calibrate: How to calibrate each member first: "temperature", "isotonic" or "vector". None for no calibration.

    Raises:
        ValueError: If the method is unknown, a path has no run, or the runs have no held-out row in common.
        RuntimeError: If a run is not complete.

    Examples:
        >>> import kcomp
        >>> joined = kcomp.ensemble(["runs/digits"])  # doctest: +SKIP
        >>> joined.test.to_csv("predictions.csv")  # doctest: +SKIP
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; received {method!r}")
    run_list = collect_runs([run.folder if isinstance(run, Run) else Path(run) for run in runs])
    if not run_list:
        raise ValueError("an ensemble needs at least one run; received none")
    check_same_table(run_list)
    members = build_members(run_list)
    rows = join_held_out(members)
    if rows is None:
        raise ValueError("no row was held out by every member, so the ensemble cannot be scored")
    scores = score_ensemble(rows, scorer_of(run_list, metric), method=method, calibrate=calibrate)
    names = [*map(describe_member, members), method]
    frame = pd.DataFrame([*scores.members, scores.ensemble], pd.Index(names, name="member"))
    if not all((run / "test.csv").is_file() for run in run_list):
        return EnsembleResult(frame, None)
    frames = join_test_predictions(members, calibrators=scores.fitted.calibrators)
    blended = scores.fitted.combine([frame.to_numpy() for frame in frames])
    return EnsembleResult(frame, pd.DataFrame(np.asarray(blended), frames[0].index, frames[0].columns))
