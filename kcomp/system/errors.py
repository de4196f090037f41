"""What a command line may say, and how its errors are told: one line, exit code 1, 2 or 75."""

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

EXPLAINED = (ValueError, OSError, ImportError, RuntimeError, ArithmeticError)  # their texts stand by themselves
BUSY = 75  # the exit code that says: come again later (EX_TEMPFAIL of sysexits.h)


class UsageError(Exception):
    """What the user asked for cannot be meant: exit code 2."""


class BusyError(RuntimeError):
    """Another process holds what this one needs: exit code 75."""


class OneLine(click.Group):
    """Commands that say an error in one line, also where click found it, or the user ended them with ctrl-C."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        if not options.setdefault("standalone_mode", True):
            return super().main(*arguments, **options)
        try:
            sys.exit(super().main(*arguments, **{**options, "standalone_mode": False}))
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            place = getattr(error, "ctx", None)
            told = " ".join(error.format_message().split()) + (f" ({place.command_path} --help)" if place else "")
            click.echo(f"kcomp: {told}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("kcomp: interrupted; give the same command again", err=True)
            sys.exit(1)


def readable_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Print expected errors as one line and exit with 1 (2 for wrong usage, 75 where another process trains the run);
    --debug shows where they came from."""

    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except UsageError as error:
            fail(error, 2)
        except BusyError as error:
            fail(error, BUSY)
        except Exception as error:  # noqa: BLE001  (recipes are programs: theirs can be of any kind)
            fail(error, 1)

    return wrapped


def fail(error: Exception, code: int) -> None:
    """Print one line: the text, and where in the recipe it came from, or its kind and place where the text alone does
    not stand for itself."""
    if click.get_current_context().find_root().params.get("debug"):
        raise error
    text = " ".join(str(error).split())
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [(frame, line) for frame, line in frames if str(frame.f_globals.get("__name__", "")).startswith("recipe_")]
    if not isinstance(error, (*EXPLAINED, UsageError)) or not text:
        text = f"{type(error).__name__}: {text}"
        own = own or frames
    if own:
        frame, line = own[-1]
        text += f" ({frame.f_code.co_filename}, line {line}; kcomp --debug ... shows more)"
    click.echo(f"kcomp: {text}", err=True)
    sys.exit(code)


def numbers(text: str, option: str) -> list[int]:
    """Whole numbers with commas between, each once, in the order given."""
    try:
        found = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise UsageError(f"{option} takes whole numbers with commas between; received {text!r}") from None
    if min(found) < 0:
        raise UsageError(f"{option} takes numbers from 0 up; received {text!r}")
    return found
