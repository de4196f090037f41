"""`kcomp predict`."""

import sys
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
    "--views",
    default=None,
    help="Random views of the training pipeline to average beside the plain one, or none; default: the recipe's.",
)
@click.option("--backend", envvar="KERAS_BACKEND", help="Default: the backend each run was trained on.")
@output_option("Write <run>.csv files into this folder instead of into the runs.")
@readable_errors
def predict(
    runs: tuple[Path, ...], test: Path | None, views: str | None, backend: str | None, output: Path | None
) -> None:
    """Predict test rows with each run: probabilities, the mean over test-time augmentations."""
    if views is not None and views != "none" and not views.isdigit():
        raise UsageError(f"--views takes a number from 0 up, or none; received {views!r}")
    if output is not None:
        check_output(output, folder=True)
    run_list = find_runs(runs)
    by_backend: dict[str, list[Any]] = {}
    for run in run_list:
        own = run.manifest["backend"]
        by_backend.setdefault(backend or (own if is_installed(own) else choose_backend(None)), []).append(run)
    if len(by_backend) > 1:
        predict_in_processes(by_backend, test, views, output)
        return
    [(chosen, _)] = by_backend.items()
    use_backend(chosen)
    from rich.console import Console

    from kcomp.prediction.runs import predict_run

    for run in run_list:
        written = predict_run(run, test, count=views, output=output)
        Console().print(f"{written}", highlight=False, soft_wrap=True)


def predict_in_processes(
    by_backend: dict[str, list[Any]], test: Path | None, views: str | None, output: Path | None
) -> None:
    """Run one `kcomp predict` process per backend, because a process cannot change its backend."""
    options = [
        *(["--test", str(test)] if test else []),
        *(["--views", views] if views else []),
        *(["-o", str(output)] if output else []),
    ]
    debug = ["--debug"] if click.get_current_context().find_root().params["debug"] else []
    for backend, group in by_backend.items():
        code = run_kcomp(
            [*debug, "predict", *(str(run.folder) for run in group), *options, "--backend", backend], backend
        )
        if code:
            sys.exit(code)
