"""`kcomp submit`."""

from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import check_output, find_runs, output_option
from kcomp.system.errors import UsageError, readable_errors


@click.command(short_help="Write a submission in the shape of the sample.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--sample", required=True, type=click.Path(path_type=Path), help="The competition's sample_submission.csv."
)
@output_option("The submission to write.", required=True)
@readable_errors
def submit(source: Path, sample: Path, output: Path) -> None:
    """Write a submission in the shape of the sample, from a run or a CSV of probabilities, and check it."""
    from kcomp.ensembles.submission import like_sample, read_predictions
    from kcomp.system.files import write_csv

    check_output(output)
    if output.exists() and any(path.exists() and output.samefile(path) for path in (source, sample)):
        raise UsageError(f"-o {output} names a file that is read; name another")
    predictions = read_predictions(the_run(source).file("test") if source.is_dir() else source)
    submission = like_sample(predictions, sample)
    write_csv(output, submission)
    click.echo(f"{output}: {len(submission)} rows, columns {', '.join(submission.columns)}; fits {sample}")


def the_run(folder: Path) -> Any:
    """Return the only run in a folder. Raise UsageError if it has several, and RuntimeError if it is not complete."""
    runs = find_runs([folder], complete=False)
    if len(runs) > 1:
        raise UsageError(
            f"{folder} has {len(runs)} runs, and a submission is made of one; join them first: "
            f"kcomp ensemble {folder} -o ensemble.csv, or name one run"
        )
    return find_runs([folder])[0]
