"""Analyse the held-out rows of runs, and write explain.html, explain.json and errors.csv."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kcomp.explain.errors.pictures import error_part
from kcomp.explain.errors.table import error_frame
from kcomp.explain.held_out.outcomes import Outcomes, compute_outcomes
from kcomp.explain.held_out.rows import HeldOutRows, collect_rows
from kcomp.explain.scores.calibration import calibration_part
from kcomp.explain.scores.confusion import confusion_part
from kcomp.explain.scores.distributions import distribution_part
from kcomp.explain.scores.labels import label_part
from kcomp.explain.scores.overall import compute_scores, score_part
from kcomp.explain.scores.residuals import residual_part
from kcomp.explain.several.part import several_part
from kcomp.explain.slices.part import slice_part
from kcomp.explain.stress.part import stress_part
from kcomp.explain.summary import summary_part
from kcomp.explain.wrong_labels import find_wrong_labels
from kcomp.report.page import html
from kcomp.report.part import Part
from kcomp.report.progress import StepProgress
from kcomp.runs.folder import Run
from kcomp.system.files import csv_bytes, json_bytes, write_together

WORK = {
    "read": 2,
    "scores": 5,
    "pictures": 15,
    "slices": 20,
    "stress": 60,
}  # about how long each step takes, for the time left


def explain_runs(runs: Sequence[Run], output: Path | None, console: Console, *, stress: int) -> tuple[Path, list[Part]]:
    """Analyse the held-out rows of runs, and write the page and its files.

    Args:
        runs: Complete runs with the same target.
        output: The folder of the files. None for `default_folder`.
        console: Where progress is shown.
        stress: The largest number of held-out images that are changed and predicted again. 0 for none.

    Returns:
        The folder, and the parts of the page.
    """
    with StepProgress(console, "explain", sum(WORK.values())) as progress:
        progress.start_step("read the held-out rows")
        rows = collect_rows(runs)
        progress.advance(WORK["read"])
        outcomes = compute_outcomes(rows)
        wrong, columns = find_wrong_labels(rows)
        parts = analyse(rows, outcomes, wrong, progress, stress)
    folder = output or default_folder(rows)
    frame = error_frame(rows, outcomes).join(columns)  # the index has the positions of the rows
    content = {part.name: dict(part.numbers) for part in parts}
    command = shlex.join(["kcomp", *sys.argv[1:]])
    page = html(f"Errors of {', '.join(recipes_of(rows))}", command, [part.shown for part in parts])
    files = {
        "errors.csv": csv_bytes(frame),
        "explain.json": json_bytes({"runs": [str(run.folder) for run in runs]} | content),
        "explain.html": page.encode(),
    }
    write_together(folder, files)
    return folder, parts


def analyse(rows: HeldOutRows, outcomes: Outcomes, wrong: Part, progress: StepProgress, stress: int) -> list[Part]:
    """Return the parts of the page, the summary first. `wrong` is the part about wrong labels."""
    progress.start_step("score the rows")
    scores = compute_scores(rows, outcomes)
    parts = [score_part(rows, outcomes, scores), class_part(rows, outcomes)]
    calibration = calibration_part(rows, outcomes)
    parts += [calibration] if calibration else []
    parts.append(distribution_part(rows, outcomes))
    several = several_part(rows, outcomes)
    progress.advance(WORK["scores"])
    progress.start_step("draw pictures and heat maps")
    parts.append(error_part(rows, outcomes, several[1:] if several else (), progress.counter(WORK["pictures"])))
    parts.append(wrong)
    progress.start_step("measure the images, test slices")
    parts.append(slice_part(rows, outcomes, progress.counter(WORK["slices"])))
    if stress:
        progress.start_step("predict changed images")
        parts += stress_part(rows, outcomes, scores, stress, progress.counter(WORK["stress"]))
    parts += several[:1] if several else []
    return [summary_part(rows, scores, parts), *parts]


def class_part(rows: HeldOutRows, outcomes: Outcomes) -> Part:
    if outcomes.decided is None:
        return residual_part(rows)
    return label_part(rows, outcomes) if outcomes.decided.ndim == 2 else confusion_part(rows, outcomes)


def recipes_of(rows: HeldOutRows) -> list[str]:
    return sorted({member.recipe for member in rows.members})


def default_folder(rows: HeldOutRows) -> Path:
    """Return explain/RECIPE/FINGERPRINT. The fingerprint is a hash of the recipe's values.

    For several recipes, RECIPE is all names, joined. For several fingerprints, the folder is explain/RECIPE.
    """
    fingerprints = {member.fingerprint for member in rows.members}
    folder = Path("explain", "-and-".join(recipes_of(rows)))
    return folder / fingerprints.pop() if len(fingerprints) == 1 else folder
