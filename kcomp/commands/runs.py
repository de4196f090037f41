"""The command `kcomp runs`."""

from pathlib import Path

import click

from kcomp.commands.common import check_output, find_runs
from kcomp.system.backends import require_packages
from kcomp.system.errors import UsageError, readable_errors


@click.command(short_help="List the runs in a folder with their scores.")
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option(
    "--sort", metavar="COLUMN", help="Sort by a column, such as log_loss; -accuracy sorts in descending order."
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path),
    help="Also write the table to this HTML file, with the recipe values that differ.",
)
@readable_errors
def runs(folder: Path, sort: str | None, page: Path | None) -> None:
    """List the runs in FOLDER (default: runs) and in its subfolders, with their scores."""
    if page is not None:
        require_packages(["jinja2"], "report")
        check_output(page, option="--html")
    from kcomp.report.console import PlainConsole
    from kcomp.report.table import print_table, sorted_rows
    from kcomp.runs.html import write_page
    from kcomp.runs.table import run_rows

    rows = run_rows(find_runs([folder], complete=False))
    if sort is not None:
        try:
            rows = [dict(row) for row in sorted_rows(rows, sort)]
        except ValueError as error:
            raise UsageError(f"--sort: {error}") from error
    print_table(PlainConsole(), rows)
    if page is not None:
        write_page(page, folder, rows)
        click.echo(page)
