"""Print the errors of kcomp's commands in one line, and exit with a code that says what kind of error it is."""

import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from kcomp.system.printable import printable

READABLE = (ValueError, OSError, ImportError, RuntimeError, ArithmeticError)  # printed without the name of their type
BUSY = 75  # exit code "try again later" (EX_TEMPFAIL of sysexits.h)
INTERRUPTED, TERMINATED = 130, 143  # exit codes of shells: 128 + the number of the signal


def error_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def located_line(error: BaseException) -> str:
    """Return the text of an error in one line, with its type if it is unusual, and the recipe's line that raised it."""
    text, place = " ".join(str(error).split()), recipe_line(error)
    line = text if isinstance(error, READABLE) and text else error_line(error)
    return f"{line} ({place})" if place else line


class UsageError(Exception):
    """Raised if the arguments of a command are wrong. The command then exits with code 2."""


class BusyError(RuntimeError):
    """Raised if another process holds a lock that this process needs. The command then exits with code 75."""


class ReadableGroup(click.Group):
    """A group of click commands that prints wrong usage and interrupts in one line.

    Attributes:
        sections: The names of the commands in each section of `--help`, by the section's title.
    """

    sections: Mapping[str, Sequence[str]] = {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.commands)
        for title, names in self.sections.items():
            rows = [(name.ljust(width), self.commands[name].get_short_help_str(limit=200)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)

    def main(self, *arguments: Any, **options: Any) -> Any:
        if not options.setdefault("standalone_mode", True):
            return super().main(*arguments, **options)
        try:
            sys.exit(super().main(*arguments, **{**options, "standalone_mode": False}))
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            hint = f" ({context.command_path} --help)" if context else ""
            click.echo(f"kcomp: {printable(' '.join(error.format_message().split()))}{hint}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("kcomp: interrupted; run the same command again to continue", err=True)
            sys.exit(INTERRUPTED)


def readable_errors(function: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command so that it prints an error in one line and exits.

    The exit code is 2 for wrong usage, 75 if another process holds a lock, and 1 for all other errors. With the option
    --debug, the command raises the error instead.
    """

    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except UsageError as error:
            fail(error, 2)
        except BusyError as error:
            fail(error, BUSY)
        except Exception as error:  # noqa: BLE001  (recipes are programs and may raise any type)
            fail(error, 1)
        except SystemExit as error:
            line = recipe_line(error)
            if not line:
                raise
            fail(RuntimeError(f"the recipe calls sys.exit() ({line})"), 1)

    return wrapped


class Terminated(BaseException):
    """Raised in a command that the system asks to end (SIGTERM)."""


@contextlib.contextmanager
def readable_termination() -> Iterator[None]:
    """Decorate a command so that SIGTERM ends it like ctrl-C: in one line, after its child processes."""

    def terminate(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except Terminated:
        click.echo("kcomp: terminated; run the same command again", err=True)
        sys.exit(TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(error: Exception, code: int) -> None:
    """Print an error in one line, and exit with the code `code`. With the option --debug, raise the error instead.

    The line names the recipe's line or, for an unexpected type of error, the place in the code.
    """
    if click.get_current_context().find_root().params.get("debug"):
        raise error
    text, place = " ".join(str(error).split()), recipe_line(error)
    if not isinstance(error, (*READABLE, UsageError)) or not text:
        text = f"{type(error).__name__}: {text}"
        place = place or raising_line(error)
    if place:
        text += f" ({place}; kcomp --debug ... shows the traceback)"
    click.echo(f"kcomp: {printable(text)}", err=True)
    sys.exit(code)


def recipe_line(error: BaseException) -> str:
    """Return the line of a recipe through which an error passed, as `<file>, line <number>`, or ""."""
    frames = traceback.walk_tb(error.__traceback__)
    shown = [place for place in frames if str(place[0].f_globals.get("__name__", "")).startswith("recipe_")]
    if not shown or not Path(shown[-1][0].f_code.co_filename).is_file():
        return ""
    return f"{shown[-1][0].f_code.co_filename}, line {shown[-1][1]}"


def raising_line(error: Exception) -> str:
    """Return the line of code that raised an error, as `<file>, line <number>`, or ""."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return f"{frames[-1][0].f_code.co_filename}, line {frames[-1][1]}" if frames else ""


def parse_numbers(text: str, option: str) -> list[int]:
    """Return the whole numbers in a text such as "0,2", without repetitions.

    Args:
        text: The value of the option.
        option: The name of the option, for the error message.

    Raises:
        UsageError: If the text is not a list of whole numbers from 0, separated by commas.
    """
    try:
        numbers = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise UsageError(f"{option} takes whole numbers separated by commas; received {text!r}") from None
    if min(numbers) < 0:
        raise UsageError(f"{option} takes numbers from 0 up; received {text!r}")
    return numbers
