"""`kcomp ensemble`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import check_place, find_runs, output_option, runs_argument
from kcomp.ensemble import METHODS, METRICS
from kcomp.system.errors import UsageError, readable_errors

if TYPE_CHECKING:
    from kcomp.ensemble.blending import Member
    from kcomp.ensemble.group_judging import Judged
    from kcomp.ensemble.methods import Fitted

GROUP_BY = (
    "Compare ensembles of members that differ in one thing: seed, fold, value, model, backend; or several, by commas."
)


@click.command()
@runs_argument
@click.option("--method", type=click.Choice(METHODS), default="mean", show_default=True, help="How members are joined.")
@click.option("--metric", type=click.Choice(METRICS), default="log_loss", show_default=True, help="What is sought.")
@click.option("--allow-partial", is_flag=True, help="Where members miss rows, use the rows that all have.")
@click.option("--calibrate", is_flag=True, help="Fit a temperature to each member first.")
@click.option("--group-by", "kinds", help=GROUP_BY)
@output_option("Write the ensemble's test predictions, such as submission.csv; with --group-by a folder of them.")
@readable_errors
def ensemble(runs: tuple[Path, ...], kinds: str | None, output: Path | None, **chosen: Any) -> None:
    """Join the probabilities of runs of any backend, and score the ensemble out of fold."""
    from kcomp.ensemble import blending, methods

    if output is not None:
        check_place(output, folder=kinds is not None)
    wanted = None if kinds is None else wanted_kinds(kinds)
    found = find_runs(runs)
    blending.classes_of(found)
    blending.check_tables(found)
    if output is not None:
        blending.check_predicted(found)
    members = blending.members(found)
    if wanted is not None:
        grouped(members, wanted, output, **chosen)
        return
    method, calibrate, partial = chosen["method"], chosen["calibrate"], chosen["allow_partial"]
    fitted = judged_and_printed(members, method, chosen["metric"], calibrate=calibrate, partial=partial)
    if fitted is None and methods.is_fitted(method, calibrate=calibrate):
        raise ValueError(f"no row was held out by every member, so nothing can be fitted; {method} needs such rows")
    if output is not None:
        rows = write(output, members, fitted or methods.Fitted(methods.AVERAGES[method]), partial=partial)
        click.echo(f"{output}: {rows} rows, the {method} of {len(members)} members ({len(found)} runs)")
        if partial and (missing := blending.most_test_rows(found) - rows):
            click.echo(f"{missing} test rows are left out, which not every run predicts", err=True)


def wanted_kinds(text: str) -> list[str]:
    from kcomp.ensemble.grouping import FACTORS

    kinds = list(dict.fromkeys(text.split(",")))
    odd = [kind for kind in kinds if kind not in FACTORS]
    if odd:
        raise UsageError(f"--group-by takes {', '.join(FACTORS)}, or several with commas between; received {text!r}")
    return kinds


def grouped(members: "list[Member]", kinds: list[str], output: Path | None, **chosen: Any) -> None:
    """Judge, print and write the ensembles of each group of members, beside the members by themselves."""
    from kcomp.ensemble import blending, group_judging, group_report, grouping, methods

    method, metric, partial = chosen["method"], chosen["metric"], chosen["allow_partial"]
    made = {kind: grouping.groups(members, kind) for kind in kinds}
    for kind in (kind for kind, groups in made.items() if not groups):
        click.echo(f"no group by {kind}: {grouping.NONE[kind]}", err=True)
    groups = [group for kind in kinds for group in made[kind]]
    if not groups:
        raise ValueError(
            f"nothing to group by {', '.join(kinds)} among {len(members)} members ({runs_in(members)} runs)"
        )
    rows = blending.held_out(members, partial=partial)
    if rows is None:
        raise ValueError("no row was held out by every member, so the ensembles cannot be compared")
    folds = {group.members for group in made.get("fold", [])}
    alone = [group for group in grouping.singles(members) if group.members not in folds]
    options = {"method": method, "metric": metric, "calibrate": chosen["calibrate"]}
    judged = group_judging.judge_groups([*groups, *alone], members, rows, **options)
    group_report.print_groups(judged, rows, method)
    if not methods.is_fitted(method, calibrate=chosen["calibrate"]):
        several = [group for group in groups if len(group.members) > 1]
        if several:
            group_report.print_sizes(group_judging.by_size(several, members, rows, method, metric), metric)
    if output is not None:
        write_groups(output, members, judged, partial=partial)


def runs_in(members: "list[Member]") -> int:
    return sum(len(member.runs) for member in members)


def write_groups(output: Path, members: "list[Member]", judged: "list[Judged]", *, partial: bool) -> None:
    """Write each group's test predictions into a file of this folder, named by what the group is."""
    for one in judged:
        if one.group.kind == "single":
            continue
        path = output / f"{re.sub('[^A-Za-z0-9_.]+', '-', f'{one.group.kind} {one.group.name}')}.csv"
        chosen = [members[place] for place in one.group.members]
        rows = write(path, chosen, one.judgement.fitted, partial=partial)
        click.echo(f"{path}: {rows} rows, {one.group.kind} {one.group.levels}")


def judged_and_printed(
    members: "list[Member]", method: str, metric: str, *, calibrate: bool, partial: bool
) -> "Fitted | None":
    """Print what the held-out rows say, and return what was fitted on them; None where members share none."""
    from kcomp.ensemble import blending, report
    from kcomp.ensemble.framework_gain import framework_gain
    from kcomp.ensemble.judging import judge

    rows = blending.held_out(members, partial=partial)
    if rows is None:
        click.echo("no row was held out by every member, so the ensemble cannot be scored")
        return None
    judged = judge(rows, method=method, metric=metric, calibrate=calibrate)
    report.print_judgement(members, rows, judged, method)
    numbers = rows.values[:, :, 0].size if metric == "log_loss" else rows.values.size  # what a score needs of them
    limit = min(100, max(6, 6_000_000 // numbers))  # sets of seeds, so that it takes seconds whatever the size
    gains = framework_gain(members, rows.label_frame, metric, limit=limit)
    report.print_framework_gain(gains, [member.backend for member in members])
    return judged.fitted


def write(output: Path, members: "list[Member]", fitted: "Fitted", *, partial: bool) -> int:
    """Write the ensemble of the members' test predictions, with the first run's classes; returns the number of rows."""
    import numpy as np
    import pandas as pd

    from kcomp.ensemble import blending
    from kcomp.runs.probabilities import write_probabilities

    frames = blending.test_predictions(members, temperatures=fitted.temperatures, partial=partial)
    blended = fitted.blend([frame.to_numpy() for frame in frames])
    classes = members[0].runs[0].manifest["classes"]
    joined = pd.DataFrame(blended, frames[0].index, frames[0].columns)[classes]
    write_probabilities(output, list(joined.index), classes, joined.to_numpy(np.float32))
    return len(joined)
