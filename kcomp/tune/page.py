"""List the best trials (sets of values) of a search, and write the HTML page that shows all trials."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kcomp import space
from kcomp.report.page import PageTable, Section, html
from kcomp.system.files import write_atomically
from kcomp.tune import pictures
from kcomp.tune.pictures import Point
from kcomp.tune.search import Search
from kcomp.tune.storage import label
from kcomp.tune.worker import FOLD
from kcomp.values import as_text

SHOWN = 10  # number of best trials that `kcomp tune` prints


def best_trials(search: Search, study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials, the best first. If several trials have the same values, only one of them is
    returned.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ordered = sorted(complete, key=lambda trial: trial.values[0] if search.lower else -trial.values[0])
    return list({tuple(trial.user_attrs["runs"]): trial for trial in reversed(ordered)}.values())[::-1]


def best_runs(search: Search, study: optuna.Study, count: int) -> list[Path]:
    """Return the run folders of the `count` best trials.

    Raises:
        ValueError: If fewer than `count` trials are complete.
        FileNotFoundError: If a run folder is not on this machine.
    """
    trials = best_trials(search, study)[:count]
    if len(trials) < count:
        raise ValueError(f"--best {count} asks for more trials than are complete: {len(trials)}; run more")
    for trial in trials:
        for folder in trial.user_attrs["runs"]:
            if not (Path(folder) / "result.json").is_file():
                raise FileNotFoundError(
                    f"{folder} of trial {trial.number} is not here; it was trained on {trial.user_attrs['host']}"
                )
    return [Path(folder) for trial in trials for folder in trial.user_attrs["runs"]]


def rows(search: Search, trials: Sequence[FrozenTrial]) -> list[dict[str, str]]:
    """Return a table row for each trial, with texts: number, score, values, outcome and run folders."""
    return [
        {"trial": str(trial.number), search.metric: "-" if trial.value is None else f"{trial.value:.4f}"}
        | {name: short(value_of(range_, trial.params[name])) for name, range_ in search.ranges.items()}
        | {"outcome": outcome(trial), "runs": " ".join(trial.user_attrs.get("runs", ["-"]))}
        for trial in trials
    ]


def outcome(trial: FrozenTrial) -> str:
    """Return how a trial ended, as a text such as `complete` or `failed: <error>`."""
    attributes = trial.user_attrs
    if "error" in attributes:
        return f"failed: {attributes['error']}"
    return trial.state.name.lower() + (f" {attributes['pruned']}" if "pruned" in attributes else "")


def value_of(range_: space.Range, stored: Any) -> Any:
    """Convert a value that Optuna stores, such as the text of a tuple, back to the type that the range declares."""
    if not isinstance(range_, space.Choice):
        return stored
    return next(value for value in range_.values if label(range_, value) == stored)


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)


def point(search: Search, trial: FrozenTrial) -> Point:
    values = {name: value_of(range_, trial.params[name]) for name, range_ in search.ranges.items()}
    steps = [divmod(step, FOLD) for step in sorted(trial.intermediate_values) if step % FOLD != FOLD - 1]
    curve = [(position, epoch, trial.intermediate_values[FOLD * position + epoch]) for position, epoch in steps]
    return Point(trial.number, values, trial.value, trial.state == TrialState.COMPLETE, curve)


def write_page(search: Search, study: optuna.Study, subtitle: str) -> Path:
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    points = [point(search, trial) for trial in trials if "runs" in trial.user_attrs]
    path = search.folder / "report.html"
    parts = sections(search, study, trials, points)
    write_atomically(path, html(f"{search.loaded.name}: search for values", subtitle, parts, wide=True).encode())
    return path


def sections(
    search: Search, study: optuna.Study, trials: Sequence[FrozenTrial], points: Sequence[Point]
) -> list[Section]:
    """Return the sections of the page.

    Args:
        search: The search.
        study: The Optuna study, which stores the trials of the search.
        trials: The finished trials.
        points: The data of the finished trials that have runs, for the pictures.
    """
    best, complete = best_trials(search, study), [point for point in points if point.complete]
    counts = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    summary = (
        f"{len(trials)} trials: {counts[TrialState.COMPLETE]} complete, {counts[TrialState.PRUNED]} pruned, "
        f"{counts[TrialState.FAIL]} failed."
    )
    page_sections = [
        Section("Outcome", summary, tables=[("Every trial, the best first", trial_table(search, trials, best))])
    ]
    if not complete:
        return page_sections
    page_sections[0].verdict = f"Best of {summary[:-1]}: {search.metric} {best[0].value:.4f} in trial {best[0].number}."
    page_sections[0].paragraphs = [
        "The best of many is chosen on the rows it is scored on, so its score is too good; the more so the more trials "
        "and the fewer rows. What the search gained shows on rows it did not see.",
        "The command above with --best K prints the run folders of the K best trials, which kcomp ensemble joins.",
    ]
    pictured = pictures.history_picture(points, search.metric, lower=search.lower)
    page_sections.append(
        Section("History", f"{search.metric} of {len(complete)} complete trials.", pictures=[("", pictured)])
    )
    page_sections.append(importance(study))
    pictured = pictures.slice_picture(complete, search.ranges, search.metric)
    page_sections.append(Section("Each value by itself", "Later trials are darker.", pictures=[("", pictured)]))
    pictured = pictures.parallel_picture(complete, search.ranges, search.metric, lower=search.lower)
    page_sections.append(Section("All values together", "A line is a trial.", pictures=[("", pictured)]))
    return page_sections


def trial_table(search: Search, trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial]) -> PageTable:
    numbers = {trial.number for trial in best}
    others = [trial for trial in trials if trial.number not in numbers and "runs" in trial.user_attrs]
    table = rows(search, [*best, *others])
    return PageTable(list(table[0]) if table else [], [list(row.values()) for row in table])


def importance(study: optuna.Study) -> Section:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna warns if all shares are equal, as with few trials
            shares = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        return Section("Importance", f"Cannot be computed from these trials: {error}.")
    if not shares or not all(math.isfinite(share) for share in shares.values()):
        return Section("Importance", "Cannot be computed from so few trials.")
    first = next(iter(shares))
    sentence = f"{first} changed the score most."
    return Section("Importance", sentence, pictures=[("", pictures.importance_picture(shares))])
