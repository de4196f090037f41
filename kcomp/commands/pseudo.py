"""The command `kcomp pseudo`."""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument, use_backend
from kcomp.system.errors import UsageError, parse_numbers, readable_errors

if TYPE_CHECKING:
    import pandas as pd

    from kcomp.runs.folder import Run

TEST = "The test rows that `kcomp predict` predicted: a CSV or a folder of images; default: the recipe's test rows."


@click.command(short_help="Label confident test rows (pseudo-labels), to train on them.")
@runs_argument
@click.option(
    "--rows",
    type=click.Choice(["test", "training", "both"]),
    default="test",
    show_default=True,
    help="The rows to label. Runs label the training rows that they held out, to distil the runs into one network.",
)
@click.option("--test", type=click.Path(path_type=Path), help=TEST)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="Lowest probability of a pseudo-label.",
)
@click.option("--hard/--soft", default=True, show_default=True, help="Write labels of 0 and 1, or probabilities.")
@click.option(
    "--per-class", type=click.IntRange(1), help="Largest number of rows of each class; the most confident are used."
)
@click.option(
    "--fold",
    "folds",
    default="all",
    show_default=True,
    help="Folds to make labels for: numbers separated by commas, or all.",
)
@output_option("The file of pseudo-labels to write, such as pseudo.csv.", required=True)
@readable_errors
def pseudo(runs: tuple[Path, ...], test: Path | None, output: Path, **options: Any) -> None:
    """Make pseudo-labels: use predictions of trained runs as labels for training.

    Run `kcomp predict` first to label test rows. RUNS are run folders, or folders that contain them. To train on the
    pseudo-labels, write data.with_pseudo(table, "pseudo.csv") in a recipe. Each fold gets its own pseudo-labels, from
    the runs that held out this fold. Pseudo-labels of other runs would make the fold's score too good.

    With --rows training or both, training rows get soft labels too. The runs that predict them were trained on the rows
    that a new run holds out, so the score of the new run is too good.
    """
    import pandas as pd

    from kcomp.data.pseudo import KIND, write_pseudo
    from kcomp.ensembles.pseudo_labels import group_teachers
    from kcomp.ensembles.soft_labels import LEAK, label_training_rows

    check_output(output)
    if math.isnan(options["threshold"]):  # click accepts NaN
        raise UsageError("--threshold takes a probability, 0 to 1; received nan")
    if options["rows"] != "test" and options["hard"]:
        raise UsageError(f"--rows {options['rows']} writes probabilities; add --soft")
    run_list, folds = find_runs(runs), options["folds"]
    requested = None if folds == "all" else parse_numbers(folds, "--fold")
    by_fold = group_teachers(run_list, requested)
    parts = []
    if options["rows"] != "training":
        parts.append(label_test_rows(by_fold, test, options))
    if options["rows"] != "test":
        training = label_training_rows(group_teachers(run_list), list(by_fold))
        parts = [part.assign(**{KIND: "test"}) for part in parts]
        parts.append(training.assign(**{KIND: "training", "image": None}))
        click.echo(LEAK)
    rows = pd.concat(parts, ignore_index=True)
    write_pseudo(output, rows, run_list[0].target.columns, run_list[0].manifest["table"])
    kind = "hard" if options["hard"] else "soft"
    click.echo(f"{output}: {len(rows)} rows with {kind} labels; each is for the fold in its column `fold`")


def label_test_rows(by_fold: "dict[int, list[Run]]", test: Path | None, options: dict[str, Any]) -> "pd.DataFrame":
    """Return a table of the pseudo-labelled test rows of all folds, and print which rows were chosen."""
    from kcomp.ensembles import pseudo_labels as labelling
    from kcomp.report.console import PlainConsole
    from kcomp.report.table import print_table

    fold_labels = [
        labelling.label_fold(fold, group, threshold=options["threshold"], per_class=options["per_class"])
        for fold, group in by_fold.items()
    ]
    first = fold_labels[0].runs[0]
    rows = labelling.join_rows(fold_labels, read_test_rows(first, test), hard=options["hard"])
    print_table(PlainConsole(), [line for labels in fold_labels for line in labelling.count_by_class(labels)])
    print_table(PlainConsole(), [labelling.summarize_fold(labels) for labels in fold_labels])
    return rows


def read_test_rows(run: Any, test: Path | None) -> Any:
    if test is not None:
        from kcomp.data import read_test

        manifest = run.manifest
        item = manifest.get("item_column") or None
        return read_test(
            test,
            manifest["image_pattern"] or None,
            id=manifest["id_column"],
            item=item,
            allow_outside=bool(manifest.get("allow_outside")),
        )
    use_backend(os.environ.get("KERAS_BACKEND"))
    from kcomp.prediction.runs import test_rows as own_rows

    return own_rows(run, run.recipe().recipe, None)
