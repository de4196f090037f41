"""The command `kcomp train`."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from kcomp.commands.common import (
    Duration,
    RecipePath,
    StopAfter,
    backend_option,
    deterministic_option,
    output_option,
    use_backend,
)
from kcomp.system.errors import UsageError, parse_numbers, readable_errors, readable_termination
from kcomp.system.import_hook import lazy_keras
from kcomp.system.shipped import shipped_recipes
from kcomp.system.stopping import Stopper, readable_stop

FROM = "Start from the weights of another run: its folder (of either backend), or a .weights.h5 file."

SAVE_EVERY = "How often to save inside an epoch, such as 30s, 10min or 1h. An epoch's end is always saved."

STOP_AFTER = "Save, predict and end before this time is over, such as 8h30m. The same command continues."

DEVICES = "Divide each batch among this many devices. Only on JAX."


class TrainCommand(click.Command):
    """The command `kcomp train`. With a recipe, its --help also lists the values that --set can change."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        recipe = next((name for name in args if name.endswith(".py") or name in shipped_recipes()), None)
        if recipe and {"-h", "--help"} & set(args):
            click.echo(self.get_help(ctx) + "\n")
            named = args[args.index("--backend") + 1 :][:1] if "--backend" in args else []
            print_values(recipe, next(iter(named), os.environ.get("KERAS_BACKEND")))
            ctx.exit()
        return super().parse_args(ctx, args)


@readable_errors
def print_values(path: str, backend: str | None) -> None:
    from kcomp import recipe as recipes
    from kcomp.values import describe, value_types

    use_backend(backend)
    values = recipes.load(path).recipe.config
    declared = value_types(values)
    click.echo(f"Values of {path}, for --set name=value:")
    width = max((len(name) for name in declared), default=0)
    for name, kind in declared.items():
        click.echo(f"  {name:<{width}}  {describe(kind):<8}  default {getattr(values, name)!r}")


@click.command(cls=TrainCommand, short_help="Train a recipe, or continue an interrupted run.")
@click.argument("recipe", type=RecipePath())
@backend_option
@click.option(
    "--fold", "folds", default="0", show_default=True, help="Folds to hold out: numbers separated by commas, or all."
)
@click.option("--seed", "seeds", default="0", show_default=True, help="Seeds separated by commas.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Change a value of the recipe; may be repeated."
)
@deterministic_option
@click.option("--devices", type=click.IntRange(1), help=DEVICES)
@click.option("--from", "origin", type=click.Path(path_type=Path), help=FROM)
@click.option("--save-every", type=Duration(), default="10min", show_default=True, help=SAVE_EVERY)
@click.option("--stop-after", type=StopAfter(), help=STOP_AFTER)
@output_option(
    "The run folder, for one fold and seed. With --backend, an unfinished run in it may be of the other backend."
)
@readable_errors
@readable_termination()
def train(
    recipe: Path,
    backend: str | None,
    folds: str,
    seeds: str,
    assignments: tuple[str, ...],
    output: Path | None,
    **others: Any,
) -> None:
    """Train a recipe, or continue an interrupted run. A complete run is not trained again.

    A run is written to runs/<recipe>/<fingerprint>/<backend>-seed<S>-fold<K>. The fingerprint is a hash of the recipe
    and its values. `kcomp train RECIPE --help` also lists the values that --set can change.
    """
    seed_numbers = parse_numbers(seeds, "--seed")
    chosen = use_backend(backend)
    if (others["devices"] or 1) > 1:
        from kcomp.engine.devices import use_devices

        use_devices(others["devices"])
    from kcomp.report.console import PlainConsole
    from kcomp.runs.folder import Run, default_folder

    with lazy_keras():
        loaded = load_recipe(recipe, assignments)
        table = read_table(loaded)
    jobs = [(seed, fold) for seed in seed_numbers for fold in parse_folds(table, folds)]
    if output is not None and len(jobs) > 1:
        raise UsageError(
            f"-o names one run folder, but {len(jobs)} runs are requested; leave it out, or give one fold and one seed"
        )
    options: dict[str, Any] = {"console": PlainConsole(), "table": table}
    options["origin"] = others["origin"] and origin_of(others["origin"], table, jobs)
    saving = save_options(others, output)
    record = options["origin"] and options["origin"].record
    place = {"root": Path("runs"), "origin": record}
    runs = [Run(output or default_folder(loaded, chosen, seed=seed, fold=fold, **place)) for seed, fold in jobs]
    if not all(run.complete for run in runs):
        print_problems(loaded, recipe, table, options["console"])
    with readable_stop():
        for (seed, fold), run in zip(jobs, runs, strict=True):
            train_one(loaded, run, seed, fold, options, saving)


def save_options(options: Mapping[str, Any], output: Path | None) -> dict[str, Any]:
    """Return the arguments of `SaveOptions` that the options of the command line ask for.

    A run continues on another backend only if --backend is given. $KERAS_BACKEND may be set for other reasons.
    """
    is_named = click.get_current_context().get_parameter_source("backend") is ParameterSource.COMMANDLINE
    stopper = options["stop_after"] or Stopper()
    return {"save_every": options["save_every"], "across": is_named and output is not None, "stopper": stopper}


def print_problems(loaded: Any, recipe: Path, table: Any, console: Any) -> None:
    from kcomp.check.cheap import cheap_lines

    for line in cheap_lines(loaded.recipe, table, shlex.quote(str(recipe))):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def load_recipe(path: Path, assignments: Sequence[str]) -> Any:
    """Load a recipe, and change its values as --set requires. Raise UsageError for a wrong name or value."""
    from kcomp import recipe as recipes
    from kcomp.values import parse_values

    loaded = recipes.load(path)
    try:
        return loaded.with_values(**parse_values(loaded.recipe.config, assignments))
    except ValueError as error:
        raise UsageError(error) from error


def read_table(loaded: Any) -> Any:
    from kcomp.data.tables import Table
    from kcomp.values import expect_type

    return expect_type(Table, "table", loaded.recipe.table(loaded.recipe.config))


def origin_of(path: Path, table: Any, jobs: Sequence[tuple[int, int]]) -> Any:
    """Return the weights of --from, a run or file at `path`, from which training starts.

    `jobs` are the pairs (seed, fold) to train.

    Raises:
        ValueError: If these weights were trained on rows that one of the folds holds out.
    """
    from kcomp.training.origin import check_unseen, find_origin

    origin = find_origin(path)
    for _, fold in jobs:
        check_unseen(origin, table, fold)
    return origin


def train_one(loaded: Any, run: Any, seed: int, fold: int, options: dict[str, Any], saving: dict[str, Any]) -> None:
    from kcomp.training.fit import train as fit
    from kcomp.training.session import SaveOptions

    complete, console = run.complete, options["console"]
    result = fit(loaded, run, seed=seed, fold=fold, options=SaveOptions(**saving), **options)
    score_text = "  ".join(f"{name} {value:.4f}" for name, value in result["scores"].items())
    if complete:
        console.print(f"{run.folder} is complete", highlight=False, soft_wrap=True)
    details = f"{result['rows']} rows out of fold, epoch {result['epoch']}, {result['seconds']:.0f} s"
    snapshots = (result.get("average") or {}).get("weights", [])
    if len(snapshots) > 1:
        details += f", the mean of {len(snapshots)} snapshots"
    console.print(f"{run.folder}: {score_text}  ({details})", highlight=False, soft_wrap=True)


def parse_folds(table: Any, text: str) -> list[int]:
    """Return the fold numbers in the value of --fold, such as "0,2". "all" is all folds of the table."""
    if text != "all":
        return parse_numbers(text, "--fold")
    from kcomp.data.splits import fold_numbers

    return fold_numbers(table)
