"""Print notices: lines about what kcomp detected or decided, such as the encoding of a CSV file."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kcomp.system.printable import printable

PACKAGE = str(Path(__file__).parents[1])
RECORDINGS: list[list[str]] = []  # the lists of all active `record_notices`


class Notice(UserWarning):
    """A warning that tells the user what kcomp detected or decided about the data, such as a file's encoding."""


def notice(text: str) -> None:
    """Issue a `Notice` that points to the line of the user's code that called kcomp."""
    for texts in RECORDINGS:
        texts.append(text)
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, Notice, stacklevel=level)


@contextlib.contextmanager
def record_notices() -> Iterator[list[str]]:
    """Yield a list that collects the text of each notice inside a `with` block. The notices are printed too."""
    texts: list[str] = []
    RECORDINGS.append(texts)
    try:
        yield texts
    finally:
        RECORDINGS.pop(next(place for place, recording in enumerate(RECORDINGS) if recording is texts))


def print_plainly() -> None:
    """From now on, print each `Notice` and each RuntimeWarning of kcomp as one line, without the line of code."""
    default = warnings.formatwarning

    def formatted(message: Any, category: type[Warning], *place: Any) -> str:
        is_own = category is RuntimeWarning and str(place[0]).startswith(PACKAGE)
        if issubclass(category, Notice) or is_own:
            return f"kcomp: {printable(str(message))}\n"
        return default(message, category, *place)

    warnings.formatwarning = formatted  # type: ignore[assignment]
