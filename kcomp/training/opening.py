"""Print what a run trains on before it starts: rows, classes, images, backend, and warnings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from kcomp.data.image_size import height_and_width
from kcomp.data.splits import fold_numbers
from kcomp.data.tables import Table, fold_columns
from kcomp.system.wait_policy import wait_policy_lines
from kcomp.targets.arrays import list_names

if TYPE_CHECKING:
    from kcomp.training.session import Session

LINES = 5  # print at most so many lines, warnings included


def print_opening(session: "Session", table: Table, manifest: Mapping[str, Any]) -> None:
    """Print what a run trains on: rows, classes, image size and device, then warnings. Print at most `LINES` lines."""
    seed, fold = manifest["seed"], manifest["fold"]
    training, held_out, target = session.training.table, session.validation.table, table.required_target
    lines = [
        describe_rows(table, training, held_out, seed=seed, fold=fold),
        target.describe(table.labels),
        f"{describe_images(session)}; {manifest['backend']} on {manifest['device']}",
    ]
    warnings = [
        *warn_untrained(training, held_out, fold),
        *warn_soft(table, fold),
        *target.warnings(),
        *wait_policy_lines(),
    ]
    for line in [*lines, *warnings][:LINES]:
        session.console.print(line, highlight=False, soft_wrap=True, markup=False)


def describe_rows(table: Table, training: Table, held_out: Table, *, seed: int, fold: int) -> str:
    folds = fold_numbers(table)
    numbers = table.frame[fold_columns(table.frame)].to_numpy()
    sizes = [int((numbers == number).sum()) for number in folds]
    pseudo = table.pseudo_of(fold)
    extra = "" if pseudo is None else count_pseudo(pseudo, training)
    others = f", one of {len(folds)} folds of {span(sizes)} rows" if len(folds) > 1 else ""
    return f"seed {seed}: trains on {len(training)} rows{extra}; fold {fold} is held out, {len(held_out)} rows{others}"


def count_pseudo(pseudo: pd.DataFrame, training: Table) -> str:
    """Return a text such as ", 20 of them pseudo-labelled and 80 with soft labels"."""
    is_test = pseudo["row_kind"] == "test"
    soft = int(pseudo["image_id"][~is_test].isin(training.ids).sum())
    parts = [f"{count} {text}" for count, text in ((is_test.sum(), "pseudo-labelled"), (soft, "with soft labels"))]
    texts = [text for text in parts if not text.startswith("0 ")]
    return f", {texts[0].replace(' ', ' of them ', 1)}{''.join(f' and {text}' for text in texts[1:])}" if texts else ""


def warn_soft(table: Table, fold: int) -> list[str]:
    """Return a list with a warning if training rows have soft labels. Otherwise, return an empty list."""
    pseudo = table.pseudo_of(fold)
    if pseudo is None or table.folds_in_order or not (pseudo["row_kind"] == "training").any():
        return []
    return [
        f"warning: the models that predicted the soft labels were trained on fold {fold}, so its score is too good; "
        "compare it only with runs that have such labels too"
    ]


def describe_images(session: "Session") -> str:
    height, width = height_and_width(session.training.image_size)
    sampling = session.training.sampling
    drawn = "" if sampling is None else f", sampling {sampling!r}"
    return f"images of {height} x {width} pixels, {session.training.batch_size} a batch{drawn}"


def warn_untrained(training: Table, held_out: Table, fold: int) -> list[str]:
    """Return a warning if a class has held-out rows but no training row, in a list. Otherwise, the list is empty."""
    target = training.required_target
    trained, scored = (target.class_counts(table.labels) > 0 for table in (training, held_out))
    missing = [name for name, is_missing in zip(target.class_names, scored & ~trained, strict=True) if is_missing]
    if not missing:
        return []
    return [f"warning: fold {fold} holds out every row of {list_names(missing)}, so the network cannot learn it"]


def span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)} to {max(numbers)}"
