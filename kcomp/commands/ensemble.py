"""The command `kcomp ensemble`."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument
from kcomp.commands.corrections import build_corrections, priors_option, smooth_option
from kcomp.commands.tree_inputs import parse_extras, read_inputs, with_option
from kcomp.ensembles import CALIBRATIONS, METHODS
from kcomp.report.text import quantity
from kcomp.system.errors import UsageError, readable_errors

if TYPE_CHECKING:
    import pandas as pd

    from kcomp.ensembles.corrections.apply import Corrections
    from kcomp.ensembles.inputs import Inputs
    from kcomp.ensembles.joins import HeldOut
    from kcomp.ensembles.members import Member
    from kcomp.ensembles.methods.fitting import FittedMethod
    from kcomp.ensembles.scoring.ensemble import EnsembleScores
    from kcomp.ensembles.scoring.groups import GroupScores
    from kcomp.metrics.scores import Scorer

METHOD = "How to combine members. The first five are averages; the others are fitted to held-out rows."
GROUP_BY = (
    "Compare ensembles whose members differ in one thing only: seed, fold, value, model or backend; several are "
    "separated by commas."
)
NO_COMMON_ROW = "no row was held out by every member"
WORK = 6_000_000  # limits how many predictions the framework gain averages, so that it takes seconds


@click.command(short_help="Combine the predictions of runs, and score the result.")
@runs_argument
@click.option("--method", type=click.Choice(METHODS), default="mean", show_default=True, help=METHOD)
@click.option("--metric", help="The metric to optimize, such as roc_auc or f2; default: the metric of the runs.")
@click.option("--allow-partial", is_flag=True, help="If some runs lack rows, use the rows that all have.")
@click.option("--calibrate", type=click.Choice(CALIBRATIONS), help="How to calibrate each member first.")
@with_option
@smooth_option
@priors_option
@click.option("--group-by", "kinds", help=GROUP_BY)
@output_option("Write the test predictions to this CSV file. With --group-by, write one file a group to this folder.")
@readable_errors
def ensemble(
    runs: tuple[Path, ...],
    kinds: str | None,
    output: Path | None,
    metric: str | None,
    smooth: tuple[float, float] | None,
    correct_priors: bool,
    extras: str | None,
    **options: Any,
) -> None:
    """Combine the predictions of several runs, and score the result on held-out rows.

    RUNS are run folders, or folders that contain them. They may come from different backends. Runs that differ only
    in their fold count as one model, a member of the ensemble.
    """
    from kcomp.ensembles import members as loading
    from kcomp.runs.scorer import scorer_of

    if output is not None:
        check_output(output, folder=kinds is not None)
    chosen_kinds = None if kinds is None else parse_kinds(kinds)
    corrections = build_corrections(smooth, correct_priors)
    chosen_extras = parse_extras(extras, options["method"])
    if chosen_kinds is not None and (smooth is not None or correct_priors or chosen_extras):
        raise UsageError("--smooth, --correct-priors and --with are for one ensemble; leave out --group-by")
    if correct_priors and output is None:
        raise UsageError("--correct-priors changes test predictions; name a file for them with -o")
    run_list = find_runs(runs)
    loading.shared_target(run_list)
    loading.check_same_table(run_list)
    if output is not None:
        loading.check_test_predictions(run_list)
    members = loading.build_members(run_list)
    scorer = scorer_of([run for member in members for run in member.runs], metric)
    if chosen_kinds is None:
        inputs = read_inputs(run_list, chosen_extras)
        ensemble_all(members, output, scorer, corrections=corrections, inputs=inputs, **options)
    else:
        ensemble_groups(members, chosen_kinds, output, scorer, **options)


def parse_kinds(text: str) -> list[str]:
    from kcomp.ensembles.grouping import KINDS

    kinds = list(dict.fromkeys(text.split(",")))
    if set(kinds) - set(KINDS):
        raise UsageError(f"--group-by takes {', '.join(KINDS)}, or several separated by commas; received {text!r}")
    return kinds


def ensemble_all(
    members: "list[Member]",
    output: Path | None,
    scorer: "Scorer",
    *,
    method: str,
    calibrate: str | None,
    allow_partial: bool,
    corrections: "Corrections",
    inputs: "Inputs | None",
) -> None:
    """Score one ensemble of all members, and print the scores.

    If `output` is not None, write the ensemble's test predictions to this CSV file.
    """
    from kcomp.ensembles.corrections.apply import KnownRows, apply_corrections
    from kcomp.ensembles.joins import join_held_out
    from kcomp.ensembles.methods import fitting
    from kcomp.ensembles.methods.averages import average_of
    from kcomp.ensembles.scoring.ensemble import score_ensemble

    corrections.check(scorer.target)
    rows, known = join_held_out(members, partial=allow_partial), None
    if rows is not None:
        own = None if inputs is None else inputs.of_held_out(rows.ids)
        scores = score_ensemble(rows, scorer, method=method, calibrate=calibrate, inputs=own)
        print_ensemble(members, rows, method, scorer, scores, smooth=corrections.smooth)
        fitted, known = scores.fitted, KnownRows(scores.predictions, rows.labels)
    else:
        check_unscored(method, calibrate, corrections)
        fitted = fitting.FittedMethod(scorer.target, average_of(method, scorer.target))
    if output is None:
        return

    def change(predictions: "pd.DataFrame") -> "pd.DataFrame":
        return apply_corrections(corrections, predictions, scorer.target, metric=scorer.metric, known=known)

    count = write_predictions(output, members, fitted, partial=allow_partial, change=change, inputs=inputs)
    print_written(output, count, method, members, partial=allow_partial)


def print_written(output: Path, count: int, method: str, members: "list[Member]", *, partial: bool) -> None:
    from kcomp.ensembles.joins import count_most_test_rows

    runs = [run for member in members for run in member.runs]
    click.echo(
        f"{output}: {count} rows, the {method} of {quantity(len(members), 'member')} ({quantity(len(runs), 'run')})"
    )
    if partial and (missing := count_most_test_rows(runs) - count):
        click.echo(f"{missing} test rows are left out, because some runs do not predict them", err=True)


def check_unscored(method: str, calibrate: str | None, corrections: "Corrections") -> None:
    """Print that the ensemble has no score, because the members held out no rows in common.

    Raise ValueError if an option needs a fit to such rows.
    """
    from kcomp.ensembles.methods import fitting

    options = {
        method: fitting.is_fitted(method, calibrate=None),
        "--calibrate": calibrate is not None,
        "--correct-priors": corrections.correct_priors,
    }
    for name, is_used in options.items():
        if is_used:
            raise ValueError(f"{NO_COMMON_ROW}; {name} is fitted on such rows")
    click.echo(f"{NO_COMMON_ROW}, so the ensemble cannot be scored")


def print_ensemble(
    members: "list[Member]",
    rows: "HeldOut",
    method: str,
    scorer: "Scorer",
    scores: "EnsembleScores",
    *,
    smooth: tuple[float, float] | None,
) -> None:
    from kcomp.ensembles import printing
    from kcomp.ensembles.corrections.apply import print_smoothed_scores
    from kcomp.ensembles.scoring.framework_gain import framework_gain

    printing.print_scores(members, rows, scores, method)
    gains = framework_gain(members, rows.label_frame, scorer, limit=min(100, max(6, WORK // rows.values.size)))
    printing.print_framework_gain(gains)
    if smooth is not None:
        print_smoothed_scores(smooth, rows.labels, scores.predictions, scorer)


def ensemble_groups(
    members: "list[Member]",
    kinds: list[str],
    output: Path | None,
    scorer: "Scorer",
    *,
    method: str,
    calibrate: str | None,
    allow_partial: bool,
) -> None:
    """Score an ensemble of each group of members (such as those of one backend), and print a table.

    Args:
        members: The members.
        kinds: In what the members of a group differ, such as "seed".
        output: A folder for a CSV of each group's test predictions. None writes none.
        scorer: The metric and the target.
        method: The method of `kcomp ensemble --method`.
        calibrate: How to calibrate each member first. None for no calibration.
        allow_partial: Whether members may lack rows.
    """
    from kcomp.ensembles import group_printing, grouping
    from kcomp.ensembles.joins import join_held_out
    from kcomp.ensembles.methods import fitting
    from kcomp.ensembles.scoring import groups as scoring

    by_kind = {kind: grouping.find_groups(members, kind) for kind in kinds}
    for kind in (kind for kind in kinds if not by_kind[kind]):
        click.echo(f"no group by {kind}: {grouping.NO_GROUP[kind]}", err=True)
    groups = [group for kind in kinds for group in by_kind[kind]]
    if not groups:
        runs = sum(len(member.runs) for member in members)
        raise ValueError(
            f"nothing to group by {', '.join(kinds)} among {quantity(len(members), 'member')} ({quantity(runs, 'run')})"
        )
    rows = join_held_out(members, partial=allow_partial)
    if rows is None:
        raise ValueError(f"{NO_COMMON_ROW}, so the ensembles cannot be compared")
    folds = {group.members for group in by_kind.get("fold", [])}
    singles = [group for group in grouping.single_groups(members) if group.members not in folds]
    every = [*groups, *singles]
    results = scoring.score_groups(every, members, rows, scorer, method=method, calibrate=calibrate)
    group_printing.print_groups(results, rows, method)
    several = [group for group in groups if len(group.members) > 1]
    if several and not fitting.is_fitted(method, calibrate=calibrate):
        sizes = scoring.score_by_size(several, members, rows, scorer, method)
        group_printing.print_sizes(sizes, scorer.metric.name)
    if output is not None:
        write_groups(output, members, results, partial=allow_partial)


def write_groups(output: Path, members: "list[Member]", results: "list[GroupScores]", *, partial: bool) -> None:
    for result in results:
        group = result.group
        if group.kind == "single":
            continue
        path = output / f"{re.sub('[^A-Za-z0-9_.]+', '-', f'{group.kind} {group.name}')}.csv"
        chosen = [members[place] for place in group.members]
        rows = write_predictions(path, chosen, result.scores.fitted, partial=partial)
        click.echo(f"{path}: {rows} rows, {group.kind} {group.levels}")


def write_predictions(
    path: Path,
    members: "list[Member]",
    fitted: "FittedMethod",
    *,
    partial: bool,
    change: "Callable[[pd.DataFrame], pd.DataFrame]" = lambda predictions: predictions,
    inputs: "Inputs | None" = None,
) -> int:
    """Write the ensemble's test predictions to a CSV, and return how many rows the CSV has.

    The CSV has the columns of the first member's test predictions, in the same order. `change` is a function that
    corrects the predictions before they are written.
    """
    import numpy as np
    import pandas as pd

    from kcomp.ensembles.joins import join_test_predictions
    from kcomp.runs.probabilities import write_probabilities

    frames = join_test_predictions(members, calibrators=fitted.calibrators, partial=partial)
    own = None if inputs is None else inputs.of_test(frames[0].index)
    blended = fitted.combine([frame.to_numpy() for frame in frames], own)
    changed = change(pd.DataFrame(blended, frames[0].index, frames[0].columns))
    write_probabilities(path, list(changed.index), list(changed.columns), changed.to_numpy(np.float32))
    return len(changed)
