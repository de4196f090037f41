"""`kcomp ensemble`."""

from pathlib import Path

import click

from kcomp.commands.common import find_runs, output_option, runs_argument
from kcomp.usage import readable_errors


@click.command()
@runs_argument
@output_option("Write the mean of the runs' test predictions, such as submission.csv.")
@readable_errors
def ensemble(runs: tuple[Path, ...], output: Path | None) -> None:
    """Average the probabilities of runs of any backend, and score the mean out of fold."""
    from kcomp.ensemble import blending
    from kcomp.ensemble.report import print_judgement
    from kcomp.runs import write_probabilities

    found = find_runs(runs)
    blending.classes_of(found)
    blending.check_tables(found)
    members = blending.members(found)
    if output is not None:
        mean = blending.test_mean(members)
    print_judgement(members, blending.labels_of(found))
    if output is not None:
        write_probabilities(output, list(mean.index), list(mean.columns), mean.to_numpy())
        click.echo(f"{output}: {len(mean)} rows, the mean of {len(members)} members ({len(found)} runs)")
