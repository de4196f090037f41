"""Print notices: lines about what kcomp detected or decided, such as the encoding of a CSV file."""

import sys
import warnings
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parents[1])


class Notice(UserWarning):
    """A warning that tells the user what kcomp detected or decided about the data, such as the encoding of a file."""


def notice(text: str) -> None:
    """Issue a `Notice` with the line of the user's code that called kcomp. Python prints the same notice only once."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, Notice, stacklevel=level)


def print_plainly() -> None:
    """From now on, print each `Notice` as one line, without the file name and line of code."""
    default = warnings.formatwarning

    def formatted(message: Any, category: type[Warning], *place: Any) -> str:
        if issubclass(category, Notice):
            return f"kcomp: {message}\n"
        return default(message, category, *place)

    warnings.formatwarning = formatted  # type: ignore[assignment]
