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
@click.option("--label", help="The label column, or several with commas between; default: told from the files.")
@click.option("--target", type=click.Choice(TARGETS), help="What the label column holds.")
@click.option("--id", help="The column that names the images.")
@click.option("--images", help="The folder of the training images, below the folder of the table.")
@click.option("--metric", help="The metric of the competition, such as roc_auc or f2.")
@click.option("--size", type=click.IntRange(32), help="The side of the training images in pixels.")
@click.option("--network", help="efficientnet_lite0 to 2, or a name of keras.applications.")
@output_option("The recipe to write; default: <folder>.py.")
@readable_errors
def new(data: Path, output: Path | None, **choices: Any) -> None:
    """Read the files of a competition, print the decisions, and write a recipe that is ready to train.

    DATA is a competition's folder (train.csv, test.csv, sample_submission.csv, folders of images), a CSV, or a folder
    with one folder of images for each class.
    """
    from kcomp.new.files import find_files
    from kcomp.new.plan import Choices, make_plan
    from kcomp.new.write import default_file, recipe_source
    from kcomp.system.files import write_atomically

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # training gives the same notices
        files = find_files(data, choices["images"])
        path = output or default_file(data)
        check_output(path)
        if path.exists():
            raise UsageError(f"{path} exists, and kcomp new overwrites nothing; name another file with -o")
        if path.suffix != ".py":
            raise UsageError(f"a recipe's name ends in .py; received -o {path}")
        plan = make_plan(files, Choices(**choices))
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
