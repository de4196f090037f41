"""`kcomp runs`."""

from pathlib import Path

import click

from kcomp.commands.common import find_runs
from kcomp.usage import readable_errors


@click.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@readable_errors
def runs(folder: Path) -> None:
    """List the runs below a folder: recipe, backend, fold, seed, scores, time."""
    from rich.console import Console

    from kcomp.table import print_table, run_row

    print_table(Console(), [run_row(run) for run in find_runs([folder], complete=False)])
