"""The command `kcomp soup`."""

from pathlib import Path

import click

from kcomp.commands.common import check_output, find_runs, output_option, runs_argument, use_backend
from kcomp.system.errors import readable_errors


@click.command(short_help="Average the network weights of runs into one network.")
@runs_argument
@click.option(
    "--method",
    type=click.Choice(("greedy", "uniform")),
    default="greedy",
    show_default=True,
    help="greedy: average only runs that improve the score. uniform: average all runs.",
)
@click.option("--metric", help="The metric that must improve; default: the metric of the runs.")
@click.option(
    "--backend", envvar="KERAS_BACKEND", help="jax or torch; default: the backend of the runs, if they share one."
)
@output_option("The run folder to write.", required=True)
@readable_errors
def soup(runs: tuple[Path, ...], method: str, metric: str | None, backend: str | None, output: Path) -> None:
    """Average the network weights of several runs into one network (a model soup).

    RUNS are runs of one fold, or folders that contain them. They may come from different backends. The result is an
    ordinary run that predicts as fast as one model. Nothing is written unless the soup scores better on held-out
    rows than the best run.
    """
    check_output(output, folder=True)
    run_list = find_runs(runs)
    shared = {run.manifest["backend"] for run in run_list}
    use_backend(backend, preferred=shared.pop() if len(shared) == 1 else None)
    from kcomp.runs.folder import Run
    from kcomp.runs.scorer import scorer_of
    from kcomp.soup.make import make_soup

    scorer = scorer_of(run_list, metric)
    choice, ordered = make_soup(run_list, Run(output), method=method, scorer=scorer)
    for number, run in enumerate(ordered):
        click.echo(f"{'kept    ' if number in choice.soup.members else 'left out'}  {run.folder}")
    estimated = ", batch normalisation's statistics estimated anew" if choice.soup.statistics is not None else ""
    click.echo(
        f"{output}: {method} soup of {len(choice.soup.members)} of {len(ordered)} runs{estimated}, "
        f"{scorer.metric.name} {choice.score:.4f} out of fold, the best ingredient {choice.best_score:.4f}; "
        "both chosen on these rows. "
        f"On rows that the choice did not see: {choice.unseen_score:.4f}, "
        f"the best ingredient {choice.unseen_best_score:.4f}"
    )
