"""The command `kcomp submit`."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument
from kcomp.commands.corrections import build_corrections, priors_option, smooth_option
from kcomp.commands.predict import group_by_backend, predict_in_processes
from kcomp.report.text import quantity
from kcomp.system.errors import UsageError, readable_errors

if TYPE_CHECKING:
    import pandas as pd

    from kcomp.ensembles.corrections.apply import Corrections, KnownRows
    from kcomp.ensembles.submission.build import Submission
    from kcomp.ensembles.submission.cells import Choices
    from kcomp.ensembles.submission.sample import Sample
    from kcomp.metrics import Metric
    from kcomp.targets import Target

WRITE = "What to write into the cells; default: decided from the sample and from the metric of the runs."
POSITIVE = "The class whose probability is written, if the sample has one column of probabilities for two classes."
VARIANTS = (
    "Write several submissions to the folder -o: plain.csv without test-time augmentation, views.csv with the recipe's "
    "views, and with --smooth each of them smoothed, as plain-smoothed.csv and views-smoothed.csv."
)
IMAGES = "The folder of the test images. Needed if the runs have no test predictions and the recipe has no test rows."


@click.command(short_help="Write a submission in the format of the sample submission.")
@runs_argument
@click.option(
    "--sample",
    "sample_path",
    required=True,
    type=click.Path(path_type=Path),
    help="The competition's sample_submission.csv.",
)
@click.option("--images", type=click.Path(path_type=Path), help=IMAGES)
@click.option("--write", type=click.Choice(["classes", "probabilities"]), help=WRITE)
@click.option("--positive", metavar="CLASS", help=POSITIVE)
@smooth_option
@priors_option
@click.option("--variants", is_flag=True, help=VARIANTS)
@output_option("The submission to write. With --variants, a folder.", required=True)
@readable_errors
def submit(
    runs: tuple[Path, ...],
    sample_path: Path,
    images: Path | None,
    write: str | None,
    positive: str | None,
    variants: bool,
    output: Path,
    **correcting: Any,
) -> None:
    """Write a submission in the format of the sample submission, and check its ids, columns and values.

    RUNS are run folders, or folders that contain them. The predictions of the runs are averaged. RUNS may also be one
    CSV of predictions. kcomp checks first that ids and columns fit the sample. Then it predicts the test rows with each
    run that has no test predictions yet.
    """
    from kcomp.ensembles.corrections.apply import apply_corrections
    from kcomp.ensembles.submission import build
    from kcomp.ensembles.submission.cells import Choices
    from kcomp.ensembles.submission.variants import variants_of

    check_paths(runs, sample_path, images, output, variants)
    corrections, choices = build_corrections(**correcting), Choices(write=write, positive=positive)
    if runs[0].is_file():
        if corrections.correct_priors:
            raise UsageError("--correct-priors needs runs, whose labels give the training rates; received a CSV")
        source = read_source(runs[0], sample_path, choices)
    else:
        source = predict_source(runs, sample_path, choices, images, corrections, variants)
    made = {}
    for path, predictions, chosen in variants_of(source.predictions, corrections, output):
        changed = apply_corrections(chosen, predictions, source.target, metric=source.metric, known=source.known)
        made[path] = build.like_sample(changed, source.target, source.sample, source.choices)
    for path, submission in made.items():
        write_submission(path, submission, source.sample, source.text)


@dataclass(frozen=True)
class SubmissionSource:
    """The input of a submission.

    Attributes:
        predictions: Predictions of the test rows. With --variants, a dictionary: "plain" has predictions of the
            unaugmented images, and "views" has predictions with the recipe's test-time augmentation.
        target: The target of the predictions.
        sample: The sample submission.
        choices: Settings that the sample does not show.
        text: The source of the predictions, as text for the printed line.
        metric: The metric of the runs. None if it is unknown.
        known: Held-out rows, to correct class rates. None if this is not needed.
    """

    predictions: "pd.DataFrame | dict[str, pd.DataFrame]"
    target: "Target"
    sample: "Sample"
    choices: "Choices"
    text: str
    metric: "Metric | None" = None
    known: "KnownRows | None" = None


def read_source(path: Path, sample_path: Path, choices: "Choices") -> SubmissionSource:
    """Return the input of a submission from a CSV file of predictions."""
    from kcomp.ensembles.submission.build import read_predictions
    from kcomp.ensembles.submission.sample import read_sample

    predictions, target = read_predictions(path)
    sample = read_sample(sample_path, target.prediction_columns)
    return SubmissionSource(predictions, target, sample, choices, f"{path}, taken for predictions of {target.name}")


def predict_source(
    paths: Sequence[Path],
    sample_path: Path,
    choices: "Choices",
    images: Path | None,
    corrections: "Corrections",
    variants: bool,
) -> SubmissionSource:
    """Return the input of a submission from the mean predictions of runs. Runs without test predictions predict
    first.
    """
    from kcomp.ensembles.corrections.apply import average_known_rows, metric_of
    from kcomp.ensembles.submission import build
    from kcomp.ensembles.submission.forecast import check_shape, check_views, forecast_ids
    from kcomp.ensembles.submission.sample import read_sample

    runs, target = readable_runs(paths)
    corrections.check(target)
    sample = read_sample(sample_path, target.prediction_columns)
    choices, line = build.with_decisions(choices, runs)
    forecast = forecast_ids(runs, sample, from_images=images is not None)
    check_shape(runs, forecast.ids, sample, choices)
    if variants:
        check_views(runs)
        predictions: Any = predict_variants(runs, sample, images)
    else:
        predict_missing(forecast.lacking, sample, images)
        predictions = build.average_runs(runs)
    known = average_known_rows(runs) if corrections.correct_priors else None
    click.echo(line, nl=bool(line))
    text = f"the mean of {quantity(len(runs), 'run')}" if len(runs) > 1 else str(runs[0].folder)
    return SubmissionSource(predictions, target, sample, choices, text, metric_of(runs[0]), known)


def predict_variants(runs: Sequence[Any], sample: "Sample", images: Path | None) -> "dict[str, pd.DataFrame]":
    """Predict with each run, with and without the recipe's test-time augmentation. Return the mean predictions of both.

    A run's test.csv is not used, because it may have other augmentations.
    """
    from kcomp.ensembles.submission.build import average_runs

    predictions = {}
    for name, options in (("plain", {"--views": "none"}), ("views", {})):
        click.echo(f"{name}: predicting test rows with {quantity(len(runs), 'run')}", err=True)
        with tempfile.TemporaryDirectory() as folder:
            predict_rows(runs, sample, images, {**options, "-o": folder})
            predictions[name] = average_runs(runs, Path(folder))
    return predictions


def write_submission(output: Path, submission: "Submission", sample: "Sample", source: str) -> None:
    """Write a submission to a file, and print what it contains. `source` says where the predictions come from."""
    from kcomp.system.files import write_atomically

    frame = submission.frame
    text = frame.to_csv(index=False, sep=sample.delimiter, lineterminator="\n")
    write_atomically(output, text.encode())
    columns = ", ".join(map(str, frame.columns[:8])) + (", ..." if len(frame.columns) > 8 else "")
    click.echo(f"{output}: {quantity(len(frame), 'row')} of {source}; columns {columns}; {submission.note}")


def check_paths(runs: Sequence[Path], sample: Path, images: Path | None, output: Path, variants: bool) -> None:
    if any(path.is_file() for path in runs) and len(runs) > 1:
        raise UsageError("a submission is made of runs, or of one CSV of predictions; `kcomp ensemble` joins runs")
    if images is not None and not images.is_dir():
        raise UsageError(f"--images takes a folder of images; there is no folder {images}")
    if images is not None and runs[0].is_file():
        raise UsageError(f"--images needs runs, which predict the images; received the predictions {runs[0]}")
    if not runs[0].exists() and runs[0].suffix == ".csv":
        raise FileNotFoundError(f"no file of predictions at {runs[0]}")
    if variants and runs[0].is_file():
        raise UsageError(f"--variants needs runs, which predict each view; received the predictions {runs[0]}")
    if variants and output.is_file():
        raise UsageError(f"with --variants, -o names a folder; {output} is a file")
    check_output(output, folder=variants)
    if output.exists() and any(path.exists() and output.samefile(path) for path in (*runs, sample)):
        raise UsageError(f"-o {output} names a file that is read; name another")


def readable_runs(paths: Sequence[Path]) -> tuple[list[Any], Any]:
    """Return two things: the runs at these paths, and their target. Raise ValueError if their predictions cannot be
    averaged.
    """
    from kcomp.ensembles.members import check_same_table, shared_target

    runs = find_runs(paths)
    shared_target(runs)
    check_same_table(runs)
    return runs, runs[0].target


def predict_missing(lacking: Sequence[Any], sample: "Sample", images: Path | None) -> None:
    """Predict the rows of the sample with the runs `lacking`, which have not predicted all of them.

    `predict_rows` describes the arguments.
    """
    if not lacking:
        if images is not None:
            click.echo("the existing predictions of the runs are used, and --images is not", err=True)
        return
    click.echo(f"predicting test rows with {quantity(len(lacking), 'run')}", err=True)
    predict_rows(lacking, sample, images, {})


def predict_rows(runs: Sequence[Any], sample: "Sample", images: Path | None, options: dict[str, Any]) -> None:
    """Predict the rows of the sample with each run.

    If `images` is None, a run predicts the test rows of its recipe. Otherwise, it predicts the images in the folder
    `images` whose ids are in the sample. `options` are further options of `kcomp predict`.
    """
    if images is None:
        predict_in_processes(group_by_backend(runs), options)
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in {run.manifest["id_column"] for run in runs}:
            ids = Path(folder) / f"{len(list(Path(folder).iterdir()))}.csv"
            write_ids(ids, name, sample.ids)
            same = [run for run in runs if run.manifest["id_column"] == name]
            predict_in_processes(group_by_backend(same), {"--test": ids, "--images": images, **options})


def write_ids(path: Path, column: str, ids: Sequence[str]) -> None:
    import pandas as pd

    from kcomp.system.files import write_csv

    write_csv(path, pd.DataFrame({column: ids}))
