"""The command `kcomp compare`."""

import tempfile
from pathlib import Path

import click

from kcomp.commands.common import RecipePath, check_output, output_option
from kcomp.system.backends import choose_backend, require_packages
from kcomp.system.errors import UsageError, parse_numbers, readable_errors


@click.command(short_help="Compare two backends: results, scores and speed.")
@click.argument("recipe", type=RecipePath())
@click.option(
    "--backends", default="jax,torch", show_default=True, help="Two backends. jax,jax compares JAX with itself."
)
@click.option("--seed", "seeds", default="0", show_default=True, help="Seeds separated by commas.")
@click.option("--fold", "folds", default="0", show_default=True, help="Folds to hold out: numbers separated by commas.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change a value of the recipe; may be repeated."
)
@click.option(
    "--updates",
    default=20,
    show_default=True,
    type=click.IntRange(2),
    help="How many training steps to compare and time.",
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
    """Train a recipe on two backends, and compare their results, scores and speed.

    Complete runs in ./runs are used. Missing runs are trained in the folder of the report. kcomp writes report.html,
    report.md and report.json. To continue after an interruption, enter the same command again.
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
    from kcomp.compare.parent.page import CompareOptions, compare
    from kcomp.report.console import PlainConsole

    console = PlainConsole()
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
