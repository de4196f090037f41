"""The command `kcomp submit`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument
from kcomp.commands.corrections import build_corrections, priors_option, smooth_option
from kcomp.commands.predict import group_by_backend, predict_in_processes
from kcomp.report.text import quantity
from kcomp.system.errors import UsageError, readable_errors

if TYPE_CHECKING:
    from kcomp.ensembles.submission.build import Submission
    from kcomp.ensembles.submission.sample import Sample

WRITE = "What to write into the cells; default: decided from the sample and from the metric of the runs."
POSITIVE = "The class whose probability is written, if the sample has one column of probabilities for two classes."
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
@output_option("The submission to write.", required=True)
@readable_errors
def submit(
    runs: tuple[Path, ...],
    sample_path: Path,
    images: Path | None,
    write: str | None,
    positive: str | None,
    smooth: tuple[float, float] | None,
    correct_priors: bool,
    output: Path,
) -> None:
    """Write a submission in the format of the sample submission, and check its ids, columns and values.

    RUNS are run folders, or folders that contain them. The predictions of the runs are averaged. RUNS may also be one
    CSV of predictions. kcomp checks first that ids and columns fit the sample. Then it predicts the test rows with each
    run that has no test predictions yet.
    """
    from kcomp.ensembles.corrections.apply import apply_corrections, average_known_rows, metric_of
    from kcomp.ensembles.submission import build
    from kcomp.ensembles.submission.cells import Choices
    from kcomp.ensembles.submission.forecast import check_shape, forecast_ids
    from kcomp.ensembles.submission.sample import read_sample

    check_paths(runs, sample_path, images, output)
    corrections, known, metric = build_corrections(smooth, correct_priors), None, None
    if correct_priors and runs[0].is_file():
        raise UsageError("--correct-priors needs runs, whose labels give the training rates; received a CSV")
    choices, line = Choices(write=write, positive=positive), ""
    if runs[0].is_file():
        predictions, target = build.read_predictions(runs[0])
        sample = read_sample(sample_path, target.prediction_columns)
        source = f"{runs[0]}, taken for predictions of {target.name}"
    else:
        run_list, target = readable_runs(runs)
        corrections.check(target)
        sample = read_sample(sample_path, target.prediction_columns)
        choices, line = build.with_decisions(choices, run_list)
        forecast = forecast_ids(run_list, sample, from_images=images is not None)
        check_shape(run_list, forecast.ids, sample, choices)
        predict_missing(forecast.lacking, sample, images)
        predictions, metric = build.average_runs(run_list), metric_of(run_list[0])
        known = average_known_rows(run_list) if correct_priors else None
        source = f"the mean of {quantity(len(run_list), 'run')}" if len(run_list) > 1 else str(run_list[0].folder)
    click.echo(line, nl=bool(line))
    changed = apply_corrections(corrections, predictions, target, metric=metric, known=known)
    submission = build.like_sample(changed, target, sample, choices)
    write_submission(output, submission, sample, source)


def write_submission(output: Path, submission: "Submission", sample: "Sample", source: str) -> None:
    """Write a submission to a file, and print what it contains. `source` says where the predictions are from."""
    from kcomp.system.files import write_atomically

    frame = submission.frame
    text = frame.to_csv(index=False, sep=sample.delimiter, lineterminator="\n")
    write_atomically(output, text.encode())
    columns = ", ".join(map(str, frame.columns[:8])) + (", ..." if len(frame.columns) > 8 else "")
    click.echo(f"{output}: {quantity(len(frame), 'row')} of {source}; columns {columns}; {submission.note}")


def check_paths(runs: Sequence[Path], sample: Path, images: Path | None, output: Path) -> None:
    """Raise an error if the paths of the command line are wrong or contradict each other."""
    if any(path.is_file() for path in runs) and len(runs) > 1:
        raise UsageError("a submission is made of runs, or of one CSV of predictions; `kcomp ensemble` joins runs")
    if images is not None and not images.is_dir():
        raise UsageError(f"--images takes a folder of images; there is no folder {images}")
    if images is not None and runs[0].is_file():
        raise UsageError(f"--images needs runs, which predict the images; received the predictions {runs[0]}")
    if not runs[0].exists() and runs[0].suffix == ".csv":
        raise FileNotFoundError(f"no file of predictions at {runs[0]}")
    check_output(output)
    if output.exists() and any(path.exists() and output.samefile(path) for path in (*runs, sample)):
        raise UsageError(f"-o {output} names a file that is read; name another")


def readable_runs(paths: Sequence[Path]) -> tuple[list[Any], Any]:
    """Return the runs and their target. Raise ValueError if the runs' predictions cannot be averaged."""
    from kcomp.ensembles.members import check_same_table, shared_target

    runs = find_runs(paths)
    shared_target(runs)
    check_same_table(runs)
    return runs, runs[0].target


def predict_missing(lacking: Sequence[Any], sample: "Sample", images: Path | None) -> None:
    """Predict with each run in `lacking`, which has not predicted all rows of the sample.

    If `images` is None, a run predicts the test rows of its recipe, else the images in this folder whose ids are in the
    sample.
    """
    if not lacking:
        if images is not None:
            click.echo("the existing predictions of the runs are used, and --images is not", err=True)
        return
    click.echo(f"predicting test rows with {quantity(len(lacking), 'run')}", err=True)
    if images is None:
        predict_in_processes(group_by_backend(lacking), {})
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in {run.manifest["id_column"] for run in lacking}:
            ids = Path(folder) / f"{len(list(Path(folder).iterdir()))}.csv"
            write_ids(ids, name, sample.ids)
            same = [run for run in lacking if run.manifest["id_column"] == name]
            predict_in_processes(group_by_backend(same), {"--test": ids, "--images": images})


def write_ids(path: Path, column: str, ids: Sequence[str]) -> None:
    import pandas as pd

    from kcomp.system.files import write_csv

    write_csv(path, pd.DataFrame({column: ids}))
