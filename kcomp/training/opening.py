"""Print the rows, classes, images and backend of a run before it starts, with warnings about doubtful classes."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kcomp.data.splits import fold_numbers
from kcomp.data.tables import Table

if TYPE_CHECKING:
    from kcomp.training.session import Session

WIDTH = 100  # characters of a list of classes; longer lists are summarized
LINES = 5  # at most, with warnings
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def print_opening(session: "Session", table: Table, manifest: Mapping[str, Any]) -> None:
    """Print three to five lines about the run, however many classes there are."""
    seed, fold = manifest["seed"], manifest["fold"]
    training, held_out = session.training.table, session.validation.table
    lines = [
        describe_rows(table, training, held_out, seed=seed, fold=fold),
        describe_classes(table),
        f"{describe_images(session)}; {manifest['backend']} on {manifest['device']}",
    ]
    warnings = [*warn_untrained(training, held_out, fold), *warn_similar(table.classes), *warn_numbers(table.classes)]
    for line in [*lines, *warnings][:LINES]:
        session.console.print(line, highlight=False, soft_wrap=True, markup=False)


def describe_rows(table: Table, training: Table, held_out: Table, *, seed: int, fold: int) -> str:
    folds = fold_numbers(table)
    sizes = [int((table.frame["fold"] == number).sum()) for number in folds]
    pseudo = len(training) + len(held_out) - len(table)
    extra = f", {pseudo} of them pseudo-labelled" if pseudo else ""
    others = f", one of {len(folds)} folds of {span(sizes)} rows" if len(folds) > 1 else ""
    return f"seed {seed}: trains on {len(training)} rows{extra}; fold {fold} is held out, {len(held_out)} rows{others}"


def describe_classes(table: Table) -> str:
    """Return the classes with their numbers of rows. Of many classes, name only the rarest and the most frequent."""
    counts = np.bincount(table.labels.argmax(1), minlength=len(table.classes))
    text = ", ".join(f"{name} ({count})" for name, count in zip(table.classes, counts, strict=True))
    if len(text) > WIDTH:
        rarest, commonest = int(counts.argmin()), int(counts.argmax())
        text = (
            f"from {counts[rarest]} ({shorten(table.classes[rarest])}) "
            f"to {counts[commonest]} ({shorten(table.classes[commonest])})"
        )
    return f"{len(table.classes)} classes, with rows: {text}"


def describe_images(session: "Session") -> str:
    size = session.training.image_size
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return f"images of {height} x {width} pixels, {session.training.batch_size} a batch"


def warn_untrained(training: Table, held_out: Table, fold: int) -> list[str]:
    """Return a warning if held-out rows have classes without a training row."""
    trained, scored = training.labels.sum(0) > 0, held_out.labels.sum(0) > 0
    missing = [name for name, is_missing in zip(training.classes, scored & ~trained, strict=True) if is_missing]
    if not missing:
        return []
    return [f"warning: fold {fold} holds out every row of {some(missing)}, so the network cannot learn it"]


def warn_similar(classes: Sequence[str]) -> list[str]:
    """Return a warning if class names differ only in case, spaces or Unicode form."""
    names: dict[str, list[str]] = {}
    for name in classes:
        plain = unicodedata.normalize("NFKC", name).casefold()
        names.setdefault("".join(plain.split()), []).append(name)
    similar = [same for same in names.values() if len(same) > 1]
    if not similar:
        return []
    more = f", and {len(similar) - 1} more such groups" if len(similar) > 1 else ""
    return [f"warning: {some(similar[0])} are different classes, but only differ in case, spaces or Unicode form{more}"]


def warn_numbers(classes: Sequence[str]) -> list[str]:
    """Return a note if all class names are numbers, because a quantity or a grade is not a class."""
    if not all(NUMBER.fullmatch(name.strip()) for name in classes):
        return []
    return ["note: all classes are numbers; kcomp treats them as names, without order or distance"]


def some(names: Sequence[str], count: int = 3) -> str:
    listed = ", ".join(repr(shorten(name)) for name in names[:count])
    return listed if len(names) <= count else f"{listed} and {len(names) - count} more"


def span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)} to {max(numbers)}"


def shorten(name: str, length: int = 30) -> str:
    return name if len(name) <= length else f"{name[: length - 3]}..."
