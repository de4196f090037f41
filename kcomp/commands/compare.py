"""`kcomp compare`."""

import tempfile
from pathlib import Path

import click

from kcomp.commands.common import check_output, output_option
from kcomp.system.backends import choose_backend, require_packages
from kcomp.system.errors import UsageError, parse_numbers, readable_errors


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--backends", default="jax,torch", show_default=True, help="Two backends, or one twice: jax,jax.")
@click.option("--seed", "seeds", default="0", show_default=True, help="Seeds separated by commas.")
@click.option("--fold", "folds", default="0", show_default=True, help="Fold numbers separated by commas.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change one of the recipe's values.")
@click.option(
    "--updates", default=20, show_default=True, type=click.IntRange(2), help="Updates that are followed and timed."
)
@output_option("The folder of the report; default: compare/<recipe>/<fingerprint>.")
@readable_errors
def compare(
    recipe: Path,
    backends: str,
    seeds: str,
    folds: str,
    assignments: tuple[str, ...],
    updates: int,
    output: Path | None,
) -> None:
    """Run one experiment on two backends and say how far they agree, how they score and what they cost.

    Writes report.html, report.md and report.json. Complete runs in ./runs are used, others are trained into the
    report's folder; the same command goes on where it was cut off.
    """
    chosen = tuple(backends.split(","))
    if len(chosen) != 2:
        raise UsageError(f"--backends takes two names with a comma between, such as jax,torch; received {backends!r}")
    for backend in chosen:
        try:
            choose_backend(backend)
        except ValueError as error:
            raise UsageError(error) from error
    wanted_seeds, wanted_folds = parse_numbers(seeds, "--seed"), parse_numbers(folds, "--fold")
    if output is not None:
        check_output(output, folder=True)
    require_packages(["matplotlib", "jinja2"], "report")
    from rich.console import Console

    from kcomp.compare.parent.page import CompareOptions, compare

    console = Console()
    debug = click.get_current_context().find_root().params.get("debug", False)
    options = CompareOptions(
        recipe, chosen, tuple(wanted_seeds), tuple(wanted_folds), assignments, updates, output, debug
    )
    with tempfile.TemporaryDirectory(prefix="kcomp-compare-") as folder:
        target, sections, failure = compare(options, Path(folder) / "parts", console)
    for section in sections:
        console.print(f"{section.title}: {section.verdict}", highlight=False, soft_wrap=True)
    console.print(f"{target / 'report.html'}", highlight=False, soft_wrap=True)
    if failure is not None:
        raise RuntimeError(f"the report has no outcome: {failure}")
