"""`kcomp pseudo`."""

import math
import os
from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import check_place, find_runs, output_option, runs_argument, use_backend
from kcomp.system.errors import UsageError, numbers, readable_errors

TEST = "The test rows that were predicted, a CSV or a folder of images; default: the recipe's test rows."


@click.command()
@runs_argument
@click.option("--test", type=click.Path(path_type=Path), help=TEST)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.9, show_default=True, help="Of the top probability."
)
@click.option("--hard/--soft", default=True, show_default=True, help="Write the top class as 1, or the probabilities.")
@click.option("--per-class", type=click.IntRange(1), help="Take at most so many rows of a class, the most confident.")
@click.option("--fold", "folds", default="all", show_default=True, help="Fold numbers with commas between, or all.")
@output_option("Write the pseudo-labels, such as pseudo.csv.", required=True)
@readable_errors
def pseudo(runs: tuple[Path, ...], test: Path | None, output: Path, **chosen: Any) -> None:
    """Label confident test rows, for each fold by the runs that held it out; `kcomp predict` must have run.

    A recipe trains on them with data.with_pseudo(table, "pseudo.csv").
    """
    from rich.console import Console

    from kcomp.data.pseudo import write_pseudo
    from kcomp.ensemble import pseudo_labels as labelling
    from kcomp.report.table import print_table

    check_place(output)
    if math.isnan(chosen["threshold"]):  # which click lets pass
        raise UsageError("--threshold takes a probability, 0 to 1; received nan")
    found, folds, threshold = find_runs(runs), chosen["folds"], chosen["threshold"]
    by_fold = labelling.teachers(found, None if folds == "all" else numbers(folds, "--fold"))
    taught = [
        labelling.taught(fold, group, threshold=threshold, per_class=chosen["per_class"])
        for fold, group in by_fold.items()
    ]
    kept = found[0].manifest
    rows = labelling.rows_to_write(taught, test_rows(found[0], test), hard=chosen["hard"])
    write_pseudo(output, rows, kept["classes"], kept["table"])
    print_table(Console(), [line for one in taught for line in labelling.by_class(one)])
    print_table(Console(), [labelling.by_fold(one, threshold) for one in taught])
    kind = "hard" if chosen["hard"] else "soft"
    click.echo(f"{output}: {len(rows)} rows with {kind} labels, each for the one fold it may be trained on in")


def test_rows(run: Any, test: Path | None) -> Any:
    """The table of the test rows; the recipe's own need Keras, for its file imports it."""
    if test is not None:
        from kcomp.data import read_test

        return read_test(test, run.manifest["image_pattern"], image_id=run.manifest["id_column"])
    use_backend(os.environ.get("KERAS_BACKEND"))
    from kcomp.prediction.runs import test_rows as own_rows

    return own_rows(run, run.recipe().recipe, None)
