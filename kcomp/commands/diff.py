"""The command `kcomp diff`."""

from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import find_runs
from kcomp.system.errors import UsageError, readable_errors


@click.command(short_help="Show what differs between two runs.")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@readable_errors
def diff(first: Path, second: Path) -> None:
    """Show what differs between two runs, and how far their results differ.

    FIRST and SECOND are run folders. kcomp compares the recipe, its values, the data, kcomp's code, versions, backend
    and machine. Of complete runs, it also compares epochs, weights, predictions and scores. No recipe is executed.
    """
    pair = [single_run(path) for path in (first, second)]
    from kcomp.report.console import PlainConsole
    from kcomp.report.table import print_table
    from kcomp.reproduce.causes import causes, source_lines
    from kcomp.reproduce.results import result_differences
    from kcomp.reproduce.text import cause_line, result_lines

    console, listed = PlainConsole(), causes(*pair)
    if listed:
        print_table(console, [vars(cause) for cause in listed])
    lines = source_lines(*pair)
    unfinished = [str(run.folder) for run in pair if not run.complete]
    if unfinished:
        lines += [f"results are not compared: {unfinished[0]} is not complete"]
    else:
        differences = result_differences(*pair)
        lines += ["results: equal bit for bit"] if differences.are_none else result_lines(differences)
    for line in [*lines, cause_line(listed)]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def single_run(path: Path) -> Any:
    """Return the only run at or below a path. Raise UsageError if there is none or more than one."""
    runs = find_runs([path], complete=False)
    if len(runs) > 1:
        raise UsageError(f"one run folder is needed; {path} has {len(runs)} runs, first {runs[0].folder}")
    return runs[0]
