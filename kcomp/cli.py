"""The command line: reads the arguments, chooses the backend, and only then imports what needs it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kcomp import __version__, launch
from kcomp.usage import UsageError, numbers, readable_errors


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kcomp")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Image competitions in Keras 3: one recipe, trained on JAX and on PyTorch, compared and averaged."""


backend_option = click.option(
    "--backend", envvar="KERAS_BACKEND", help="jax or torch; default: $KERAS_BACKEND, else what is installed."
)


class TrainCommand(click.Command):
    """`kcomp train RECIPE --help` also lists the recipe's own values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        recipe = next((argument for argument in args if argument.endswith(".py")), None)
        if recipe and {"-h", "--help"} & set(args):
            click.echo(self.get_help(ctx) + "\n")
            named = args[args.index("--backend") + 1 :][:1] if "--backend" in args else []
            print_values(recipe, next(iter(named), os.environ.get("KERAS_BACKEND")))
            ctx.exit()
        return super().parse_args(ctx, args)


@readable_errors
def print_values(path: str, backend: str | None) -> None:
    from kcomp import recipe as recipes
    from kcomp.values import describe, value_types

    use_backend(backend)
    values = recipes.load(path).recipe.values
    declared = value_types(values)
    click.echo(f"Values of {path}, for --set name=value:")
    width = max((len(name) for name in declared), default=0)
    for name, kind in declared.items():
        click.echo(f"  {name:<{width}}  {describe(kind):<8}  default {getattr(values, name)!r}")


@main.command(cls=TrainCommand)
@click.argument("recipe", type=click.Path(path_type=Path))
@backend_option
@click.option("--fold", "folds", default="0", show_default=True, help="Fold numbers with commas between, or all.")
@click.option("--seed", "seeds", default="0", show_default=True, help="Seeds with commas between.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change one of the recipe's values.")
@click.option("-o", "output", type=click.Path(path_type=Path), help="The run folder, for one fold and one seed.")
@readable_errors
def train(
    recipe: Path, backend: str | None, folds: str, seeds: str, assignments: tuple[str, ...], output: Path | None
) -> None:
    """Train a recipe; continue a run that was cut off; leave a complete run alone.

    Runs go to runs/<recipe>/<fingerprint>/<backend>-seed<S>-fold<K>. `kcomp train RECIPE --help` lists the
    recipe's own values.
    """
    wanted_seeds = numbers(seeds, "--seed")
    chosen = use_backend(backend)
    from rich.console import Console

    from kcomp import recipe as recipes
    from kcomp.runs import Run, default_folder
    from kcomp.values import parse_values

    loaded = recipes.load(recipe)
    try:
        loaded = loaded.with_values(**parse_values(loaded.recipe.values, assignments))
    except ValueError as error:
        raise UsageError(error) from error
    jobs = [(seed, fold) for seed in wanted_seeds for fold in wanted_folds(loaded, folds)]
    if output is not None and len(jobs) > 1:
        raise UsageError(
            f"-o names one run folder, but {len(jobs)} runs are asked for; leave it out, or give one fold and one seed"
        )
    console = Console()
    for seed, fold in jobs:
        run = Run(output or default_folder(loaded, chosen, seed=seed, fold=fold, root=Path("runs")))
        train_one(loaded, run, seed, fold, console)


def train_one(loaded: Any, run: Any, seed: int, fold: int, console: Any) -> None:
    from kcomp.training.fit import train as fit

    complete = run.complete
    result = fit(loaded, run, seed=seed, fold=fold, console=console)
    found = "  ".join(f"{name} {value:.4f}" for name, value in result["scores"].items())
    if complete:
        console.print(f"{run.folder} is complete", highlight=False, soft_wrap=True)
    spent = f"{result['rows']} rows out of fold, epoch {result['epoch']}, {result['seconds']:.0f} s"
    console.print(
        f"{run.folder}: {found}  ({spent})",
        highlight=False,
        soft_wrap=True,
    )


def wanted_folds(loaded: Any, text: str) -> list[int]:
    if text != "all":
        return numbers(text, "--fold")
    from kcomp.data.splits import fold_numbers

    return fold_numbers(loaded.recipe.table(loaded.recipe.values))


def use_backend(requested: str | None) -> str:
    try:
        chosen = launch.choose(requested)
    except ValueError as error:
        raise UsageError(error) from error
    launch.prepare(chosen)
    return chosen


def find_runs(paths: Sequence[Path], *, complete: bool = True) -> list[Any]:
    """The runs at or below these paths, each once; UsageError where there is none, or one is not complete."""
    from kcomp.runs import find

    found: list[Any] = []
    for path in paths:
        here = find(path)
        if not here:
            raise UsageError(f"no run at or below {path}; runs are folders with a manifest.json")
        found += [run for run in here if run.folder not in {other.folder for other in found}]
    unfinished = [str(run.folder) for run in found if not run.complete]
    if complete and unfinished:
        raise RuntimeError(
            f"{len(unfinished)} runs are not complete, first {unfinished[0]}; train them to their end first"
        )
    return found


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--test",
    "test",
    type=click.Path(path_type=Path),
    help="CSV of image ids, or a folder of images; default: the recipe's test rows.",
)
@click.option(
    "--views",
    default=None,
    help="Random views of the training pipeline to average beside the plain one, or none; default: the recipe's.",
)
@click.option("--backend", envvar="KERAS_BACKEND", help="Default: the backend each run was trained on.")
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    help="Write <run>.csv files into this folder instead of into the runs.",
)
@readable_errors
def predict(
    runs: tuple[Path, ...], test: Path | None, views: str | None, backend: str | None, output: Path | None
) -> None:
    """Predict test rows with each run: probabilities, the mean over test-time augmentations."""
    if views is not None and views != "none" and not views.isdigit():
        raise UsageError(f"--views takes a number from 0 up, or none; received {views!r}")
    found = find_runs(runs)
    by_backend: dict[str, list[Any]] = {}
    for run in found:
        own = run.manifest["backend"]
        by_backend.setdefault(backend or (own if launch.installed(own) else launch.choose(None)), []).append(run)
    if len(by_backend) > 1:
        predict_in_processes(by_backend, test, views, output)
        return
    [(chosen, _)] = by_backend.items()
    use_backend(chosen)
    from rich.console import Console

    from kcomp.inference import predict_run

    for run in found:
        written = predict_run(run, test, count=views, output=output)
        Console().print(f"{written}", highlight=False, soft_wrap=True)


def predict_in_processes(
    by_backend: dict[str, list[Any]], test: Path | None, views: str | None, output: Path | None
) -> None:
    """One `kcomp predict` for each backend: a process cannot change its own."""
    options = [
        *(["--test", str(test)] if test else []),
        *(["--views", views] if views else []),
        *(["-o", str(output)] if output else []),
    ]
    debug = ["--debug"] if click.get_current_context().find_root().params["debug"] else []
    for backend, group in by_backend.items():
        code = launch.kcomp(
            [*debug, "predict", *(str(run.folder) for run in group), *options, "--backend", backend], backend
        )
        if code:
            sys.exit(code)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    help="Write the mean of the runs' test predictions, such as submission.csv.",
)
@readable_errors
def ensemble(runs: tuple[Path, ...], output: Path | None) -> None:
    """Average the probabilities of runs of any backend, and score the mean out of fold."""
    from kcomp.ensemble import blending
    from kcomp.ensemble.report import print_judgement
    from kcomp.runs import write_probabilities

    found = find_runs(runs)
    blending.classes_of(found)
    blending.check_tables(found)
    members = blending.members(found)
    if output is not None:
        mean = blending.test_mean(members)
    print_judgement(members, blending.labels_of(found))
    if output is not None:
        write_probabilities(output, list(mean.index), list(mean.columns), mean.to_numpy())
        click.echo(f"{output}: {len(mean)} rows, the mean of {len(members)} members ({len(found)} runs)")


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    help="The FILE.onnx for one run, or a folder for <run>.onnx of each; default: model.onnx in each run.",
)
@readable_errors
def export(runs: tuple[Path, ...], output: Path | None) -> None:
    """Write each run's classifier as ONNX: images in 0..255 to probabilities.

    ONNX Runtime, OpenVINO and others read the file. The export runs on PyTorch, whichever backend trained the run.
    """
    found = find_runs(runs)
    names_file = output is not None and output.suffix == ".onnx"
    if names_file and len(found) > 1:
        raise UsageError(f"-o {output} names one file, but there are {len(found)} runs; name a folder")
    launch.choose("torch")  # tells what to install
    launch.require(["onnx", "onnxscript"], "onnx")
    launch.prepare("torch")
    from kcomp.export import export_run

    for run in found:
        path = run / "model.onnx" if output is None else output if names_file else output / f"{run.name}.onnx"
        click.echo(export_run(run, path))


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--sample", required=True, type=click.Path(path_type=Path), help="The competition's sample_submission.csv."
)
@click.option("-o", "output", required=True, type=click.Path(path_type=Path), help="The submission to write.")
@readable_errors
def submit(source: Path, sample: Path, output: Path) -> None:
    """Write a submission in the shape of the sample, from a run or a CSV of probabilities, and check it."""
    from kcomp.ensemble.submission import like_sample, read_predictions
    from kcomp.files import write_csv

    predictions = read_predictions(source / "test.csv" if source.is_dir() else source)
    submission = like_sample(predictions, sample)
    write_csv(output, submission)
    click.echo(f"{output}: {len(submission)} rows, columns {', '.join(submission.columns)}; fits {sample}")


@main.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@readable_errors
def runs(folder: Path) -> None:
    """List the runs below a folder: recipe, backend, fold, seed, scores, time."""
    from rich.console import Console

    from kcomp.table import print_table, run_row

    print_table(Console(), [run_row(run) for run in find_runs([folder], complete=False)])


if __name__ == "__main__":
    main()
