"""The command `kcomp explain`."""

from pathlib import Path

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument, use_backend
from kcomp.system.backends import require_packages
from kcomp.system.errors import readable_errors, readable_termination


@click.command(short_help="Show where trained models fail, and why.")
@runs_argument
@click.option(
    "--backend", envvar="KERAS_BACKEND", help="jax or torch; default: the backend that trained the first run."
)
@click.option(
    "--stress",
    default=128,
    show_default=True,
    type=click.IntRange(0),
    help="Change this many held-out images, a quarter of them in 52 ways, and predict them again; 0 for none.",
)
@output_option("The folder of the page; default: explain/<recipe>/<fingerprint>.")
@readable_errors
@readable_termination()
def explain(runs: tuple[Path, ...], backend: str | None, stress: int, output: Path | None) -> None:
    """Show where trained models fail, and why, on the rows that they held out.

    RUNS are run folders, or folders that contain them. They may differ in fold, seed, backend and recipe. kcomp writes
    explain.html, explain.json, and errors.csv with all held-out rows.
    """
    check_output(output or Path("explain"), folder=True, default=output is None)
    require_packages(["matplotlib", "jinja2"], "report")
    run_list = find_runs(runs)
    use_backend(backend, preferred=run_list[0].manifest["backend"])
    from kcomp.explain.run import explain_runs
    from kcomp.report.console import PlainConsole

    console = PlainConsole()
    folder, parts = explain_runs(run_list, output, console, stress=stress)
    for part in parts:
        console.print(f"{part.section.title}: {part.section.verdict}", highlight=False, soft_wrap=True)
    console.print(f"{folder / 'explain.html'}", highlight=False, soft_wrap=True)
