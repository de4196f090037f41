"""The command `kcomp tune`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcomp.commands.common import RecipePath, backend_option, use_backend
from kcomp.system.backends import require_packages
from kcomp.system.errors import UsageError, readable_errors
from kcomp.system.processes import child_environment, start_kcomp

if TYPE_CHECKING:
    from kcomp.data.tables import Table
    from kcomp.metrics.scores import Scorer
    from kcomp.recipe import Recipe
    from kcomp.tune.search import Search

STORAGE = "Where Optuna stores the trials: a .db file, a .journal file or a database URL; default: study.db."
SEARCH = "search.json"  # file in a search's folder, with the options of the search
BEST = "Only print the run folders of the K best trials, as input for kcomp ensemble."


@click.command(short_help="Search for good values of a recipe.")
@click.argument("recipe", type=RecipePath())
@click.option("--trials", default=20, show_default=True, type=click.IntRange(1), help="How many trials in total.")
@backend_option
@click.option(
    "--fold", "folds", default="0", show_default=True, help="Folds to hold out: numbers separated by commas, or all."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the runs and of the search."
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fix a value of the recipe instead of searching it.",
)
@click.option("--metric", help="The metric to optimize, one that the runs log; default: the recipe's metric.")
@click.option("--pruner", type=click.Choice(["median", "none"]), default="median", show_default=True,
              help="median: stop a trial that is worse than the median of the others at its epoch.")  # fmt: skip
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="How many trials run at the same time on this machine; at most one on each GPU.",
)
@click.option("--storage", help=STORAGE)
@click.option("--best", type=click.IntRange(1), metavar="K", help=BEST)
@click.option("--as-worker", is_flag=True, hidden=True)
@readable_errors
def tune(recipe: Path, **chosen: Any) -> None:
    """Search for good recipe values, within the ranges that the recipe declares.

    A trial trains one run for each fold. The score of the trial is the mean score of these runs. The first trial uses
    the values of the recipe. To continue after an interruption, enter the same command again. With a shared --storage,
    other machines can join the search. The report is tune/<recipe>/<search>/report.html.
    """
    require_packages(["optuna"], "tune")
    if chosen["best"] is None:
        require_packages(["matplotlib", "jinja2"], "report")
    search = search_of(recipe, chosen)
    from kcomp.tune import page, storage
    from kcomp.tune.worker import Worker

    if chosen["best"] is not None:
        check_known(search)
    study = storage.open_study(search, chosen["storage"] or str(search.folder / "study.db"))
    if chosen["best"] is not None:
        for folder in page.best_runs(search, study, chosen["best"]):
            click.echo(folder)
        return
    try:
        if chosen["workers"] > 1:
            work_together(chosen["workers"])
        else:
            Worker(search, study, chosen["trials"], chosen["pruner"] == "median", click.echo).work()
    finally:  # show the trials so far, also after an error or Ctrl-C
        if not chosen["as_worker"]:
            show(search, study)


def search_of(recipe: Path, chosen: dict[str, Any]) -> "Search":
    """Return the `Search` that the options describe. Without --best, store the options in the folder of the search."""
    backend = use_backend(chosen["backend"])
    from kcomp import recipe as recipes
    from kcomp.commands.train import parse_folds, read_table
    from kcomp.system.files import write_json
    from kcomp.tune.search import Search
    from kcomp.values import parse_values

    loaded = recipes.load(recipe)
    try:
        fixed = parse_values(loaded.recipe.config, chosen["assignments"])
        loaded = loaded.with_values(**fixed)
    except ValueError as error:
        raise UsageError(error) from error
    table = read_table(loaded)
    scorer = scorer_of(loaded.recipe, table, chosen["metric"])
    folds = tuple(parse_folds(table, chosen["folds"]))
    metric = chosen["metric"] or scorer.metric.name
    search = Search(recipe, loaded, fixed, backend, folds, chosen["seed"], metric, scorer)
    if search.ranges and chosen["best"] is None:  # raises for wrong ranges before anything is written
        write_json(search.folder / SEARCH, {"options": options_of(search)})
    return search


def scorer_of(recipe: "Recipe", table: "Table", metric: str | None) -> "Scorer":
    """Return a scorer for the recipe's metric and the other metrics that runs log.

    Raises:
        UsageError: If runs do not log `metric`, the value of --metric.
    """
    from kcomp.metrics.scores import Scorer

    scorer = Scorer(recipe.metric_of(table.required_target), table.required_target)
    names = [each.name for each in scorer.shown]
    if metric is not None and metric not in names:
        raise UsageError(
            f"--metric takes a metric that the runs log, one of {', '.join(names)}; received {metric!r}. "
            "To search by another, give it to Recipe(metric=...)"
        )
    return scorer


def options_of(search: "Search") -> str:
    from kcomp.values import as_text

    options = f"--backend {search.backend} --fold {as_text(search.folds)} --seed {search.seed} --metric {search.metric}"
    return options + "".join(
        f" --set {shlex.quote(f'{name}={as_text(value)}')}" for name, value in search.fixed.items()
    )


def check_known(search: "Search") -> None:
    """Raise UsageError if this search has no folder yet. The message lists the options of the recipe's other
    searches.
    """
    from kcomp.system.files import read_json

    if not search.folder.is_dir():
        other_options = [read_json(path)["options"] for path in sorted(search.folder.parent.glob(f"*/{SEARCH}"))]
        existing = (
            f"those of this recipe had {'; '.join(other_options)}" if other_options else "this recipe has none yet"
        )
        raise UsageError(
            f"--best takes the options of the search, and the recipe with the values, ranges and rows it had; there "
            f"is none with {options_of(search)}: {existing}"
        )


def work_together(workers: int) -> None:
    """Run this command in several processes, and wait for all of them. Each process gets an equal part of the
    machine.
    """
    from kcomp.sweep import machine

    try:
        share = machine.share(workers, workers)
    except ValueError as error:
        raise UsageError(error) from error
    arguments = [*sys.argv[1:], "--workers", "1", "--as-worker"]
    environs = [child_environment(threads=share.threads, device=share.device(slot)) for slot in range(workers)]
    processes = [start_kcomp(arguments, environ) for environ in environs]
    try:
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()
    if any(codes):
        raise RuntimeError(f"{sum(map(bool, codes))} of {workers} workers failed; the same command goes on")


def show(search: "Search", study: Any) -> None:
    from kcomp.report.console import PlainConsole
    from kcomp.report.table import print_table
    from kcomp.tune import page

    best = page.best_trials(search, study)
    if best:
        folds = ", ".join(map(str, search.folds))
        title = f"{search.metric} of fold {folds}: the best of {len(study.get_trials(deepcopy=False))} trials"
        print_table(PlainConsole(), page.rows(search, best[: page.SHOWN]), title=title)
    path = page.write_page(search, study, f"kcomp {' '.join(sys.argv[1:])}")
    click.echo(path)
