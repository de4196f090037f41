"""The command `kcomp find-rate`."""

from pathlib import Path

import click

from kcomp.commands.common import RecipePath, backend_option, check_output, output_option, use_backend
from kcomp.system.backends import require_packages
from kcomp.system.errors import UsageError, readable_errors, readable_termination
from kcomp.system.import_hook import lazy_keras


@click.command("find-rate", short_help="Suggest a learning rate by a short test.")
@click.argument("recipe", type=RecipePath())
@backend_option
@click.option("--stage", help="The stage to test; default: the first. Earlier stages are not trained.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change a value of the recipe; may be repeated."
)
@output_option("The folder of the plot; default: find-rate/<recipe>/<fingerprint>.")
@readable_errors
@readable_termination()
def find_rate(
    recipe: Path, backend: str | None, stage: str | None, assignments: tuple[str, ...], output: Path | None
) -> None:
    """Suggest the highest learning rate of a stage, a part of the training with its own optimizer.

    kcomp trains 200 steps while the rate rises from 1e-6 to 10 (a learning rate range test). It prints a rate, and
    writes find-rate.png and rates.csv. No run folder changes.
    """
    check_output(output or Path("find-rate"), folder=True, default=output is None)
    require_packages(["matplotlib"], "report")
    use_backend(backend)
    from kcomp.commands.train import load_recipe, read_table
    from kcomp.report.console import PlainConsole

    with lazy_keras():
        loaded = load_recipe(recipe, assignments)
        table = read_table(loaded)
    from kcomp.find_rate.measure import STEPS, NoStageError, run_range_test
    from kcomp.find_rate.report import describe, write_report
    from kcomp.find_rate.suggestion import suggest
    from kcomp.report.progress import StepProgress

    console = PlainConsole()
    try:
        with StepProgress(console, "find-rate", STEPS) as progress:
            progress.start_step("training at rising rates")
            test = run_range_test(loaded.recipe, table, stage_name=stage, progress=progress.counter(STEPS))
    except NoStageError as error:
        raise UsageError(error) from error
    suggestion = suggest(test.rates, test.losses)
    folder = output or Path("find-rate") / loaded.name / loaded.fingerprint()
    path = write_report(folder, test, suggestion)
    for line in [*describe(test, suggestion), str(path)]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
