"""The command `kcomp check`."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import backend_option, check_output, find_runs, output_option, use_backend
from kcomp.system.backends import require_packages
from kcomp.system.errors import readable_errors, readable_termination
from kcomp.system.import_hook import lazy_keras

RUNS = "Find wrong labels by the out-of-fold predictions of these runs: a run folder or a folder of runs; repeatable."


@click.command(short_help="Find problems in the data before training.")
@click.argument("data", metavar="RECIPE|DATA", type=click.Path(path_type=Path))
@backend_option
@click.option("--strict", is_flag=True, help="Exit with code 1 if a finding is an error.")
@click.option("--runs", multiple=True, type=click.Path(path_type=Path), help=RUNS)
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change a value of the recipe; may be repeated."
)
@output_option("The folder of the report; default: check/<recipe>/<fingerprint>.")
@readable_errors
@readable_termination()
def check(
    data: Path,
    backend: str | None,
    strict: bool,
    runs: tuple[Path, ...],
    assignments: tuple[str, ...],
    output: Path | None,
) -> None:
    """Look for problems in a data set: files, labels, duplicates, leaks, folds and wrong labels.

    Give a recipe, or DATA that `kcomp new` can read: a competition's folder, a CSV, or a folder with one folder of
    images for each class. kcomp prints the ten worst findings, and writes check.html, check.json and findings.csv.
    """
    check_output(output or Path("check"), folder=True, default=output is None)
    require_packages(["matplotlib", "jinja2", "imagehash"], "report")  # imagehash finds near-duplicates
    run_list = find_runs(runs) if runs else []
    use_backend(backend)
    from kcomp.report.console import PlainConsole

    with lazy_keras():
        from kcomp.check.source import load_source

        loaded = load_source(data, assignments)
    from kcomp.check.report import all_findings, write_report
    from kcomp.check.run import check as run_checks

    console, debug = PlainConsole(), bool(click.get_current_context().find_root().params.get("debug", False))
    result = run_checks(loaded, console, runs=run_list, debug=debug)
    folder = output or Path("check") / loaded.name / loaded.fingerprint()
    command = shlex.join(["kcomp", *sys.argv[1:]])
    page = write_report(folder, loaded, result, command)
    findings = all_findings(result.parts)
    print_findings(console, findings)
    console.print(str(page), highlight=False, soft_wrap=True, markup=False)
    if result.failures:
        raise RuntimeError(
            f"{len(result.failures)} checks failed with an error of kcomp, first {result.failures[0]!r}; the report "
            "has the others"
        )
    if strict and any(finding.severity == "error" for finding in findings):
        sys.exit(1)


def print_findings(console: Any, findings: Any) -> None:
    from kcomp.check.finding_text import finding_line
    from kcomp.check.report import WORST
    from kcomp.report.finding import uncovered
    from kcomp.report.text import quantity

    if all(finding.severity == "note" for finding in findings):
        console.print("no problem was found", highlight=False)
    for finding in uncovered(findings)[:WORST]:
        console.print(finding_line(finding), highlight=False, soft_wrap=True, markup=False)
    if len(findings) > WORST:
        console.print(f"{quantity(len(findings) - WORST, 'more finding')} in the report", highlight=False)
