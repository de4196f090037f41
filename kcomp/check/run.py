"""Run all checks of a data set."""

import functools
from collections.abc import Callable, Sequence

from rich.console import Console

from kcomp.check.augmented import check_augmented
from kcomp.check.data_set import DataSet
from kcomp.check.duplicates.part import check_duplicates
from kcomp.check.features import compute_features
from kcomp.check.files.part import check_files
from kcomp.check.folds.part import check_folds
from kcomp.check.labels.part import check_labels
from kcomp.check.result import CheckResult
from kcomp.check.shift.train_test import check_train_test
from kcomp.check.shortcuts.part import check_shortcuts
from kcomp.check.wrong_labels.part import check_wrong_labels
from kcomp.check.wrong_labels.predictions import out_of_fold
from kcomp.data.bad_images import keeping_damaged
from kcomp.data.tables import Table
from kcomp.measurements.facts import Facts
from kcomp.measurements.measure import measure
from kcomp.recipe import Loaded
from kcomp.report.finding import Finding
from kcomp.report.page import Section
from kcomp.report.part import Part
from kcomp.report.progress import StepProgress
from kcomp.report.text import quantity
from kcomp.runs.folder import Run
from kcomp.system.errors import error_line, located_line
from kcomp.system.notices import record_notices
from kcomp.values import expect_type

# The time of each step for an image, relative to measuring its file. It only moves the progress bar.
FEATURES = 3.0
CHECK = 0.2


def check(loaded: Loaded, console: Console, *, runs: Sequence[Run] = (), debug: bool = False) -> CheckResult:
    """Run all checks of the data set of a recipe, and return their results.

    Args:
        loaded: The recipe.
        console: Where to show the progress.
        runs: Runs whose out-of-fold predictions are used to find wrong labels. Without runs, labels are predicted from
            features of a frozen pretrained network.
        debug: Whether an exception in a check is raised. If not, the other checks run, and the exception is part of the
            result.

    Raises:
        ValueError: If the table of the recipe cannot be read.
    """
    recipe, checks = loaded.recipe, all_checks(loaded)
    with keeping_damaged() as bad, record_notices() as notices:
        table = expect_type(Table, "table", recipe.table(recipe.config))
        test, parts = read_test(loaded)
    metric = recipe.metric_of(table.required_target)
    predictions = out_of_fold(runs, table) if runs else None
    tables = [table, *([] if test is None else [test])]
    images, failures = sum(map(len, tables)), []
    with StepProgress(console, "check", images * (1 + FEATURES + CHECK * len(checks))) as progress:
        facts = measured(tables, progress)
        features, network, problem = compute_features(loaded, tables, progress, FEATURES * images)
        data_set = DataSet(
            table=table,
            facts=facts[0],
            metric=metric,
            test=test,
            test_facts=facts[1] if test is not None else None,
            features=features[0],
            test_features=features[1] if test is not None else None,
            predictions=predictions,
            left_out=frozenset(bad.dropped),
            repeated=tuple(bad.repeated),
            notices=tuple(notices),
        )
        parts += problem
        for name, run_check in checks.items():
            progress.start_step(name)
            try:
                parts.append(run_check(data_set))
            except Exception as error:
                if debug:
                    raise
                failures.append(error)  # an error of kcomp; the other checks are still useful
                parts.append(failed_part(name, error))
            progress.advance(CHECK * images)
    return CheckResult(data_set, parts, network, failures)


def read_test(loaded: Loaded) -> tuple[Table | None, list[Part]]:
    """Return two things: the test rows of the recipe or None, and a list with a part of the report about a problem.

    The list is empty without a problem.
    """
    recipe = loaded.recipe
    if recipe.test is None:
        return None, []
    try:
        table = expect_type(Table, "test", recipe.test(recipe.config))
    except Exception as error:  # noqa: BLE001  # the recipe's function may raise anything
        text = located_line(error)
        section = Section("Test rows", f"The test rows cannot be read: {text}", good=False)
        finding = Finding("missing", "warning", f"the test rows cannot be read: {text}")
        return None, [Part("test", section, {"problem": text}, (finding,))]
    return (table if len(table) else None), []


def measured(tables: Sequence[Table], progress: StepProgress) -> list[Facts]:
    progress.start_step(f"measure {quantity(sum(map(len, tables)), 'image')}")
    return [measure(table, progress=progress.counter(len(table))) for table in tables]


def all_checks(loaded: Loaded) -> dict[str, Callable[[DataSet], Part]]:
    return {
        "files": check_files,
        "labels": check_labels,
        "duplicates": check_duplicates,
        "wrong labels": check_wrong_labels,
        "shortcuts": check_shortcuts,
        "train against test": check_train_test,
        "folds": check_folds,
        "what the network is fed": functools.partial(check_augmented, loaded.recipe),
    }


def failed_part(name: str, error: Exception) -> Part:
    text = error_line(error)
    return Part(name, Section(name.capitalize(), f"This check failed with an error of kcomp: {text}"), {"failed": text})
