"""The command `kcomp sweep`."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import RecipePath, check_output, output_option
from kcomp.system.backends import choose_backend, require_packages
from kcomp.system.errors import UsageError, parse_numbers, readable_errors

BACKENDS = "jax, torch or jax,torch; default: $KERAS_BACKEND, else the installed one, JAX first."
SET = "Try these settings of a recipe value, such as rate=0.1,0.2. Repeat the option for other values and for tuples."
JOBS = "How many runs train at the same time; default: one for each GPU, or what cores and memory allow."


@click.command(short_help="Train every combination of backends, seeds, folds and values.")
@click.argument("recipe", type=RecipePath())
@click.option("--backends", envvar="KERAS_BACKEND", help=BACKENDS)
@click.option("--seed", "seeds", default="0", show_default=True, help="Seeds separated by commas.")
@click.option(
    "--fold", "folds", default="0", show_default=True, help="Folds to hold out: numbers separated by commas, or all."
)
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE,...", help=SET)
@click.option("--jobs", "side", type=click.IntRange(1), help=JOBS)
@click.option(
    "--on",
    "where",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Train on this machine, or on a Ray cluster.",
)
@click.option("--ray-address", help="Address of the Ray cluster; default: $RAY_ADDRESS, else one on this machine.")
@output_option("The folder for all runs; default: runs.")
@readable_errors
def sweep(
    recipe: Path,
    backends: str | None,
    seeds: str,
    folds: str,
    assignments: tuple[str, ...],
    output: Path | None,
    **placing: Any,
) -> None:
    """Train every combination of backends, seeds, folds and recipe values, several at the same time.

    List the values after --set, separated by commas. Without such a list, the recipe's function sweep() lists them.
    Complete runs are not trained again. To continue after an interruption, enter the same command again. The output of
    a run goes to a .log file beside its folder.
    """
    from kcomp.sweep.plan import SweepOptions, plan
    from kcomp.system.files import DamagedError

    chosen, root = parse_backends(backends), output or Path("runs")
    check_output(root, folder=True)
    if placing["ray_address"] and placing["where"] != "ray":
        raise UsageError("--ray-address needs --on ray")
    if placing["where"] == "ray":
        require_packages(["ray"], "ray")
        check_cluster(placing["ray_address"])
    debug = click.get_current_context().find_root().params.get("debug", False)
    if folds != "all":
        parse_numbers(folds, "--fold")
    seed_numbers = tuple(parse_numbers(seeds, "--seed"))
    jobs, sources = plan(SweepOptions(str(recipe), chosen, seed_numbers, folds, assignments, str(root), debug))
    for job in jobs:
        with contextlib.suppress(DamagedError):  # reported at the end; the other jobs are trained
            job.check()
    train(jobs, sources, root, placing)


def check_cluster(address: str | None) -> None:
    """Raise UsageError if the address of a Ray cluster is invalid. If `address` is None, check $RAY_ADDRESS."""
    from kcomp.sweep.cluster.connection import check_address

    try:
        check_address(address or os.environ.get("RAY_ADDRESS"))
    except ValueError as error:
        raise UsageError(error) from error


def parse_backends(text: str | None) -> tuple[str, ...]:
    try:
        named = [None] if text is None else list(dict.fromkeys(text.split(",")))
        return tuple(choose_backend(name) for name in named)
    except ValueError as error:
        raise UsageError(error) from error


def train(jobs: Sequence[Any], sources: dict[str, str], root: Path, placing: dict[str, Any]) -> None:
    """Train all runs of the sweep, show their progress, and print a table of the results.

    Args:
        jobs: The runs to train.
        sources: The source texts of the recipe and of the files that it imports, by file name.
        root: The folder for all runs.
        placing: The options --on, --jobs and --ray-address.

    Raises:
        RuntimeError: If a run failed.
    """
    from kcomp.report.console import PlainConsole
    from kcomp.sweep import pool
    from kcomp.sweep.board import Board
    from kcomp.sweep.machine import share
    from kcomp.sweep.progress import SweepProgress, failed

    console, progress = PlainConsole(file=sys.stdout), [SweepProgress(job) for job in jobs]
    if placing["where"] == "ray":
        from kcomp.sweep.cluster.connection import connected
        from kcomp.sweep.cluster.tasks import run

        log = root / "ray.log"
        with connected(placing["ray_address"], len(jobs), placing["side"], log) as resources:
            print_line(
                console, f"{len(jobs)} runs on Ray, {resources.slots} side by side, {resources.threads} cores each"
            )
            board = Board(console, progress)
            with board.shown():
                run(progress, sources, resources, board)
    else:
        try:
            machine = share(len(jobs), placing["side"])
        except ValueError as error:
            raise UsageError(error) from error
        on = f"a GPU ({', '.join(machine.devices)})" if machine.devices else f"{machine.threads} threads"
        print_line(console, f"{len(jobs)} runs, {machine.slots} side by side, {on} each")
        board = Board(console, progress)
        with board.shown():
            pool.run(progress, machine, board)
    table(console, jobs)
    missing = failed(progress)
    for job in missing:
        print_line(console, f"failed: {job.job.name}: {job.last} ({job.job.log})")
    if missing:
        raise RuntimeError(f"{len(missing)} of {len(jobs)} runs failed; their logs lie beside their folders")


def table(console: Any, jobs: Sequence[Any]) -> None:
    """Print a table of the runs and, if recipe values differ, the values of each fingerprint."""
    from kcomp.report.table import print_table
    from kcomp.runs.table import run_rows

    rows = run_rows([job.run for job in jobs if (job.run / "manifest.json").is_file()])
    if rows:
        print_table(console, rows)
    texts = {job.fingerprint: " ".join(f"{name}={value}" for name, value in job.values.items()) for job in jobs}
    for fingerprint, text in texts.items() if len(texts) > 1 else ():
        print_line(console, f"{fingerprint}: {text}")


def print_line(console: Any, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True, markup=False)
