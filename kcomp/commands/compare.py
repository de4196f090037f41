"""The command `kcomp compare`."""

import tempfile
from pathlib import Path

import click

from kcomp.commands.common import RecipePath, check_output, output_option
from kcomp.system.backends import choose_backend, require_packages
from kcomp.system.errors import UsageError, parse_numbers, readable_errors


@click.command()
@click.argument("recipe", type=RecipePath())
@click.option("--backends", default="jax,torch", show_default=True, help="Two backends, or one twice: jax,jax.")
@click.option("--seed", "seeds", default="0", show_default=True, help="Seeds, separated by commas.")
@click.option("--fold", "folds", default="0", show_default=True, help="Folds, separated by commas.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change one of the recipe's values.")
@click.option(
    "--updates", default=20, show_default=True, type=click.IntRange(2), help="Number of updates to compare and time."
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
    """Compare two backends: agreement, scores, speed.

    Runs one experiment on both. Writes report.html, report.md and report.json. Uses the complete runs in ./runs and
    trains the others into the report's folder. If it is interrupted, the same command continues.
    """
    chosen = tuple(backends.split(","))
    if len(chosen) != 2:
        raise UsageError(f"--backends takes two names separated by a comma, such as jax,torch; received {backends!r}")
    for backend in chosen:
        try:
            choose_backend(backend)
        except ValueError as error:
            raise UsageError(error) from error
    seed_numbers, fold_numbers = parse_numbers(seeds, "--seed"), parse_numbers(folds, "--fold")
    if output is not None:
        check_output(output, folder=True)
    require_packages(["matplotlib", "jinja2"], "report")
    from rich.console import Console

    from kcomp.compare.parent.page import CompareOptions, compare

    console = Console()
    debug = click.get_current_context().find_root().params.get("debug", False)
    options = CompareOptions(
        recipe, chosen, tuple(seed_numbers), tuple(fold_numbers), assignments, updates, output, debug
    )
    with tempfile.TemporaryDirectory(prefix="kcomp-compare-") as folder:
        target, sections, failure = compare(options, Path(folder) / "parts", console)
    for section in sections:
        console.print(f"{section.title}: {section.verdict}", highlight=False, soft_wrap=True)
    console.print(f"{target / 'report.html'}", highlight=False, soft_wrap=True)
    if failure is not None:
        raise RuntimeError(f"the report has no outcome: {failure}")
