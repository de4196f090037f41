"""Functions that several commands share: options, the choice of the backend, and the search for runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kcomp.system.backends import choose_backend, prepare_backend
from kcomp.system.determinism import NAME
from kcomp.system.durations import parse_duration
from kcomp.system.errors import UsageError
from kcomp.system.shipped import find_recipe
from kcomp.system.stopping import Stopper

backend_option = click.option(
    "--backend", envvar="KERAS_BACKEND", help="jax or torch; default: $KERAS_BACKEND, else the installed one."
)


def request_determinism(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        os.environ[NAME] = "1"


deterministic_option = click.option(
    "--deterministic",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=request_determinism,
    help="On a GPU, use only operations that compute the same result each time. Can be slower.",
)


class Duration(click.ParamType):
    """A duration such as 10min or 8h30m, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class StopAfter(Duration):
    """A duration that begins when the command line is read, as a `Stopper`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, Stopper) else Stopper(super().convert(value, param, ctx))


runs_argument = click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))


def output_option(text: str, *, required: bool = False) -> Any:
    return click.option("-o", "output", required=required, type=click.Path(path_type=Path), help=text)


def check_output(output: Path, *, folder: bool = False, option: str = "-o", default: bool = False) -> None:
    """Raise UsageError if `output` cannot be written.

    Args:
        output: The path to write.
        folder: Whether `output` is a folder instead of a file.
        option: The name of the option, for the message.
        default: Whether kcomp chose `output`, because the user did not name one.
    """
    absolute = output.resolve()
    nearest = next(place for place in ((absolute, *absolute.parents) if folder else absolute.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        problem = "cannot be written to" if nearest.is_dir() else "is a file"
        target = f"the default folder {output}" if default else f"{option} {output}"
        hint = "choose another folder with -o" if default else f"name another {'folder' if folder else 'file'}"
        raise UsageError(f"{target} cannot be written: {nearest} {problem}; {hint}")
    if not folder and output.is_dir():
        raise UsageError(f"{option} {output} is a folder; name a file")


def use_backend(requested: str | None, preferred: str | None = None) -> str:
    try:
        chosen = choose_backend(requested, preferred)
    except ValueError as error:
        raise UsageError(error) from error
    prepare_backend(chosen)
    return chosen


def find_runs(paths: Sequence[Path], *, complete: bool = True) -> list[Any]:
    """Return the runs at these paths or in their subfolders, without repetitions.

    Args:
        paths: Run folders, or folders that contain them.
        complete: Whether all runs must be complete.

    Raises:
        UsageError: If a path contains no run.
        RuntimeError: If `complete` is True and a run is not complete.
    """
    from kcomp.runs.collect import collect_runs

    try:
        return collect_runs(paths, complete=complete)
    except ValueError as error:
        raise UsageError(error) from error


class RecipePath(click.ParamType):
    """A type of command-line argument: the path of a recipe, or the name of a recipe that comes with kcomp."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return find_recipe(Path(value))
