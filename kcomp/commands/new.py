"""The command `kcomp new`."""

import shlex
import warnings
from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import check_output, output_option
from kcomp.system.errors import UsageError, readable_errors

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
@output_option("The recipe file to write; default: <name of the folder>.py.")
@readable_errors
def new(data: Path, output: Path | None, **options: Any) -> None:
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
    write_atomically(path, source.encode())
    width = max(len(name) for name, _ in plan.lines)
    for name, text in plan.lines:
        click.echo(f"{name:<{width}}  {text}")
    sample = "SAMPLE.csv" if plan.sample is None else shlex.quote(str(plan.sample))
    further = "" if plan.test else " --images FOLDER"
    recipe, runs = shlex.quote(str(path)), shlex.quote(f"runs/{path.stem}")
    click.echo(f"\n{path} is written. Next:")
    click.echo(f"  kcomp train {recipe}               # the first of {plan.folds} folds")
    click.echo(f"  kcomp train {recipe} --fold all    # all folds: the mean of their networks is better")
    click.echo(f"  kcomp submit {runs} --sample {sample}{further} -o submission.csv")
