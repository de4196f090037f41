"""The command `kcomp predict`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument, use_backend
from kcomp.system.backends import choose_backend, is_installed
from kcomp.system.errors import UsageError, readable_errors
from kcomp.system.processes import run_kcomp


@click.command(short_help="Predict the test rows with each run.")
@runs_argument
@click.option(
    "--test",
    "test",
    type=click.Path(path_type=Path),
    help="CSV of image ids, or a folder of images; default: the recipe's test rows.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder of the images of a CSV of --test; default: where the images of the training rows are.",
)
@click.option(
    "--views",
    default=None,
    help="Random views of the training pipeline to average beside the plain one, or none; default: the recipe's.",
)
@click.option("--backend", envvar="KERAS_BACKEND", help="Default: the backend each run was trained on.")
@output_option("Write <run>.csv files into this folder instead of into the runs.")
@readable_errors
def predict(
    runs: tuple[Path, ...],
    test: Path | None,
    images: Path | None,
    views: str | None,
    backend: str | None,
    output: Path | None,
) -> None:
    """Predict test rows with each run, averaged over test-time augmentations."""
    if views is not None and views != "none" and not views.isdigit():
        raise UsageError(f"--views takes a number from 0 up, or none; received {views!r}")
    if images is not None and (test is None or test.is_dir()):
        raise UsageError("--images is the folder of the images of a CSV; name the CSV with --test")
    if output is not None:
        check_output(output, folder=True)
    run_list = find_runs(runs)
    by_backend = group_by_backend(run_list, backend)
    if len(by_backend) > 1:
        predict_in_processes(by_backend, {"--test": test, "--images": images, "--views": views, "-o": output})
        return
    [(chosen, _)] = by_backend.items()
    use_backend(chosen)
    from rich.console import Console

    from kcomp.prediction.runs import predict_run

    for run in run_list:
        written = predict_run(run, test, images=images, count=views, output=output)
        Console().print(f"{written}", highlight=False, soft_wrap=True)


def group_by_backend(runs: Sequence[Any], backend: str | None = None) -> dict[str, list[Any]]:
    """Return the runs to predict with each backend.

    A run is predicted with `backend`. If this is None, it is predicted with the backend that trained it, if installed.
    """
    groups: dict[str, list[Any]] = {}
    for run in runs:
        own = run.manifest["backend"]
        groups.setdefault(backend or (own if is_installed(own) else choose_backend(None)), []).append(run)
    return groups


def predict_in_processes(by_backend: Mapping[str, Sequence[Any]], options: Mapping[str, Any]) -> None:
    """Run a process of `kcomp predict` for each backend, because a process cannot change its backend.

    If a process fails, this process ends with the same exit code.

    options: Values of the options of `kcomp predict`. An option that is None is not passed.
    """
    arguments = [text for name, value in options.items() if value is not None for text in (name, str(value))]
    debug = ["--debug"] if click.get_current_context().find_root().params.get("debug") else []
    for backend, group in by_backend.items():
        folders = [str(run.folder) for run in group]
        code = run_kcomp([*debug, "predict", *folders, *arguments, "--backend", backend], backend)
        if code:
            sys.exit(code)
