"""Run all checks of a data set."""

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from kcomp.check.augmented import check_augmented
from kcomp.check.data_set import DataSet
from kcomp.check.predictions import out_of_fold
from kcomp.check.stubs import keeping_damaged, measure
from kcomp.data.tables import Table
from kcomp.recipe import Loaded
from kcomp.report.finding import Finding
from kcomp.report.page import Section
from kcomp.report.part import Part
from kcomp.report.progress import StepProgress
from kcomp.runs.folder import Run
from kcomp.values import expect_type

# The parts in the order of the page, with the time that each takes for an image, relative to measuring its file.
CHECKS = (
    ("files", "check_files", 0.1),
    ("labels", "check_labels", 0.1),
    ("duplicates", "check_duplicates", 0.3),
    ("wrong_labels", "check_wrong_labels", 0.5),
    ("shortcuts", "check_shortcuts", 0.3),
    ("train_test", "check_train_test", 0.3),
    ("folds", "check_folds", 0.1),
)
FEATURES = 3.0  # the time for the features of an image, relative to measuring its file


@dataclass(frozen=True)
class Outcome:
    """The result of all checks.

    Attributes:
        data_set: The data set that was checked.
        parts: The result of each check.
        failures: The errors of checks that failed, which are errors of kcomp. Empty if all checks ran.
    """

    data_set: DataSet
    parts: list[Part]
    failures: list[Exception]


def check(loaded: Loaded, console: Console, *, runs: Sequence[Run] = (), debug: bool = False) -> Outcome:
    """Check the data set of a recipe.

    Args:
        loaded: The recipe.
        console: Where to show the progress.
        runs: Runs whose out-of-fold predictions are used to find wrong labels. Without runs, a probe on frozen features
            is used.
        debug: Whether an error in a check is raised. Otherwise, the other checks run, and the error is part of the
            result.

    Raises:
        ValueError: If the table of the recipe cannot be read.
    """
    recipe = loaded.recipe
    with keeping_damaged():
        table = expect_type(Table, "table", recipe.table(recipe.config))
        test, problems = read_test(loaded)
    metric = recipe.metric_of(table.required_target)
    predictions = out_of_fold(runs, table) if runs else None
    images = len(table) + (0 if test is None else len(test))
    work = images * (1 + FEATURES + sum(work for *_, work in CHECKS) + 0.1)
    with StepProgress(console, "check", work) as progress:
        data_set = measured(table, test, progress, metric=metric, predictions=predictions)
        checks = [*steps(data_set), ("what the network is fed", 0.1, lambda: check_augmented(recipe, data_set))]
        parts, failures = [*problems], []
        for name, share, run_check in checks:
            progress.start_step(name)
            try:
                parts.append(run_check())
            except Exception as error:  # an error of kcomp; the other checks are still useful
                if debug:
                    raise
                failures.append(error)
                parts.append(failed_part(name, error))
            progress.advance(share * images)
    return Outcome(data_set, parts, failures)


def read_test(loaded: Loaded) -> tuple[Table | None, list[Part]]:
    """Return the test rows of the recipe, or None, and a part with the problem if they cannot be read."""
    recipe = loaded.recipe
    if recipe.test is None:
        return None, []
    try:
        return expect_type(Table, "test", recipe.test(recipe.config)), []
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())
        section = Section("Test rows", f"The test rows cannot be read: {text}", good=False)
        finding = Finding("missing", "warning", f"the test rows cannot be read: {text}")
        return None, [Part("test", section, {"problem": text}, (finding,))]


def measured(table: Table, test: Table | None, progress: StepProgress, **fields: Any) -> DataSet:
    """Measure the images of a table and compute their features."""
    progress.start_step(f"read {len(table) + (0 if test is None else len(test))} images")
    facts = measure(table)
    test_facts = None if test is None else measure(test)
    return DataSet(table=table, facts=facts, test=test, test_facts=test_facts, **fields)


def steps(data_set: DataSet) -> Iterator[tuple[str, float, Callable[[], Part]]]:
    """Yield the name, the share of the work and the function of each check."""
    for name, function, work in CHECKS:
        if importlib.util.find_spec(f"kcomp.check.{name}") is None:
            continue
        module = importlib.import_module(f"kcomp.check.{name}")
        yield name.replace("_", " "), work, functools.partial(getattr(module, function), data_set)


def failed_part(name: str, error: Exception) -> Part:
    """Return the part of a check that raised an error."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Part(name, Section(name.capitalize(), f"This check failed with an error of kcomp: {text}"), {"failed": text})
