"""The command `kcomp predict`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument, use_backend
from kcomp.system.backends import choose_backend
from kcomp.system.errors import UsageError, readable_errors
from kcomp.system.processes import run_kcomp

FIT_VIEWS = (
    "First fit the weights of the recipe's views to the held-out rows. They are stored, and later predictions use them."
)


@click.command(short_help="Predict the test rows with each run.")
@runs_argument
@click.option(
    "--test",
    "test",
    type=click.Path(path_type=Path),
    help="A CSV of image ids, or a folder of images; default: the recipe's test rows.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="For a CSV: the folder of its images; default: where the training images are.",
)
@click.option(
    "--views",
    default=None,
    metavar="N",
    help="Also predict N random augmentations of each image and average; or none. Default: the recipe's views.",
)
@click.option("--fit-views", is_flag=True, help=FIT_VIEWS)
@click.option("--backend", envvar="KERAS_BACKEND", help="jax or torch; default: the backend that trained each run.")
@output_option("Write one CSV a run to this folder; default: test.csv in each run folder.")
@readable_errors
def predict(
    runs: tuple[Path, ...],
    test: Path | None,
    images: Path | None,
    views: str | None,
    fit_views: bool,
    backend: str | None,
    output: Path | None,
) -> None:
    """Predict the test rows with each run.

    RUNS are run folders, or folders that contain them. A prediction is the mean over test-time augmentations of an
    image, if the recipe or --views sets any.
    """
    if fit_views and views is not None:
        raise UsageError("--fit-views fits the weights of the recipe's views; leave out --views")
    if views is not None and views != "none" and not views.isdigit():
        raise UsageError(f"--views takes a number from 0 up, or none; received {views!r}")
    if images is not None and (test is None or test.is_dir()):
        raise UsageError("--images is the folder of the images of a CSV; name the CSV with --test")
    if output is not None:
        check_output(output, folder=True)
    run_list = find_runs(runs)
    by_backend = group_by_backend(run_list, backend)
    if len(by_backend) > 1:
        options = {"--test": test, "--images": images, "--views": views, "-o": output}
        predict_in_processes(by_backend, options, ["--fit-views"] if fit_views else [])
        return
    [(chosen, _)] = by_backend.items()
    use_backend(chosen)
    from kcomp.prediction.runs import predict_run
    from kcomp.report.console import PlainConsole

    if fit_views and not fit_and_print(run_list, needs_test=test is None):
        return
    for run in run_list:
        written = predict_run(run, test, images=images, count=views, output=output)
        PlainConsole().print(f"{written}", highlight=False, soft_wrap=True)


def fit_and_print(runs: Sequence[Any], *, needs_test: bool) -> bool:
    """Fit the weights of the views of each model, store them, and print them with their scores.

    A view is a variant of an image for test-time augmentation. If `needs_test` is True and a recipe has no test rows,
    print how to predict, and return False.
    """
    from kcomp.ensembles.members import build_members, check_same_table, shared_target
    from kcomp.ensembles.printing import print_views
    from kcomp.prediction.fit_views import fit_views
    from kcomp.runs.scorer import scorer_of

    shared_target(runs)
    check_same_table(runs)
    scorer = scorer_of(runs)
    for member in build_members(runs):
        names, scores, rows = fit_views(member, scorer)
        print_views(member, names, rows, scores)
    if needs_test and any(run.recipe().recipe.test is None for run in runs):
        note = (
            "; existing test predictions do not use them yet"
            if any((run / "test.csv").is_file() for run in runs)
            else ""
        )
        click.echo(f"the weights are stored for `kcomp predict --test` and `kcomp submit --images`{note}")
        return False
    return True


def group_by_backend(runs: Sequence[Any], backend: str | None = None) -> dict[str, list[Any]]:
    """Return {backend: runs that it predicts}.

    If `backend` is None, each run is predicted by the backend that trained it. If this backend is not installed,
    another one predicts the run.
    """
    groups: dict[str, list[Any]] = {}
    for run in runs:
        groups.setdefault(backend or choose_backend(None, preferred=run.manifest["backend"]), []).append(run)
    return groups


def predict_in_processes(
    by_backend: Mapping[str, Sequence[Any]], options: Mapping[str, Any], flags: Sequence[str] = ()
) -> None:
    """Run `kcomp predict` in a child process for each backend. If a process fails, exit with its code.

    Args:
        by_backend: The runs of each backend.
        options: The options of `kcomp predict`, such as "--test", and their values. None leaves an option out.
        flags: Options without a value.
    """
    arguments = [text for name, value in options.items() if value is not None for text in (name, str(value))] + list(
        flags
    )
    debug = ["--debug"] if click.get_current_context().find_root().params.get("debug") else []
    for backend, group in by_backend.items():
        folders = [str(run.folder) for run in group]
        code = run_kcomp([*debug, "predict", *folders, *arguments, "--backend", backend], backend)
        if code:
            sys.exit(code)
