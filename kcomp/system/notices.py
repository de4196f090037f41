"""Print notices: what kcomp detected or decided about the data, one line each."""

import sys
import warnings
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).parents[1])


class Notice(UserWarning):
    """What kcomp detected or decided about the data, such as the encoding of a file."""


def notice(text: str) -> None:
    """Issue a Notice once. Its position is the line outside of kcomp that called kcomp."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, Notice, stacklevel=level)


def print_plainly() -> None:
    """Print each Notice as one line, without file name and source line, from now on."""
    default = warnings.formatwarning

    def formatted(message: Any, category: type[Warning], *place: Any) -> str:
        if issubclass(category, Notice):
            return f"kcomp: {message}\n"
        return default(message, category, *place)

    warnings.formatwarning = formatted  # type: ignore[assignment]
