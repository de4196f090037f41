"""Plan a sweep in a separate process: load the recipe and list the runs to train."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from kcomp.sweep.jobs import TrainingJob
from kcomp.system.backends import prepare_backend
from kcomp.system.die_with_parent import die_with_parent
from kcomp.system.errors import UsageError, parse_numbers, readable_errors
from kcomp.system.files import read_json, write_json


@dataclass(frozen=True)
class SweepOptions:
    """The options of the command `kcomp sweep`.

    Attributes:
        recipe: Path of the recipe.
        backends: "jax", "torch" or both.
        seeds: The seeds of the runs.
        folds: Fold numbers separated by commas, or "all".
        assignments: Texts such as "image_size=160,224", one for each option `--set`.
        root: The folder that contains the run folders.
        debug: Whether the planning process shows the traceback of an error.
    """

    recipe: str
    backends: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: str
    assignments: tuple[str, ...]
    root: str
    debug: bool = False


def plan(options: SweepOptions) -> tuple[list[TrainingJob], dict[str, str]]:
    """Make the plan of a sweep in a child process.

    Returns:
        jobs: The jobs, one for each run folder.
        sources: The source texts of the recipe and of the files that it imports from its folder, by file name.

    Raises:
        SystemExit: If the child process fails. The child process has then printed the error.
    """
    with tempfile.TemporaryDirectory(prefix="kcomp-sweep-") as folder:
        places = Path(folder) / "options.json", Path(folder) / "plan.json"
        write_json(places[0], asdict(options))
        command = [sys.executable, "-m", "kcomp.sweep.plan", *map(str, places), *["--debug"] * options.debug]
        # the child is in another session, so ctrl-C reaches only the parent, which then ends the child
        code = subprocess.run(die_with_parent(command), check=False, start_new_session=True).returncode
        if code:
            raise SystemExit(code)
        answer = read_json(places[1])
    return [TrainingJob(**job) for job in answer["jobs"]], answer["sources"]


@click.command()
@click.argument("options_file", type=click.Path(path_type=Path))
@click.argument("plan_file", type=click.Path(path_type=Path))
@click.option("--debug", is_flag=True)
@readable_errors
def main(options_file: Path, plan_file: Path, debug: bool) -> None:
    """Read the options of a sweep from a JSON file, and write the plan to another one."""
    content = read_json(options_file)
    lists = {name: tuple(content[name]) for name in ("backends", "seeds", "assignments")}
    options = SweepOptions(**{**content, **lists})
    prepare_backend(options.backends[0])
    from kcomp import recipe as recipes
    from kcomp.sweep.variants import variants

    loaded = recipes.load(options.recipe)
    try:
        combinations = variants(loaded, options.assignments)
    except ValueError as error:
        raise UsageError(error) from error
    jobs = [job for texts in combinations for job in jobs_of(options, loaded, texts)]
    once = {job.folder: job for job in reversed(jobs)}  # two texts may be the same value: 1e-3 and 0.001
    write_json(
        plan_file, {"jobs": [job.as_json() for job in jobs if once[job.folder] is job], "sources": loaded.sources}
    )


def jobs_of(options: SweepOptions, loaded: Any, texts: dict[str, str]) -> list[TrainingJob]:
    """Return a job for each seed, fold and backend, with one combination of the recipe's values.

    Args:
        options: The options of the sweep.
        loaded: The recipe, a `kcomp.recipe.Loaded`.
        texts: The values to change, by name, as texts for `--set`.
    """
    from kcomp.runs.folder import default_folder
    from kcomp.values import parse_values

    changes = parse_values(loaded.recipe.config, [f"{name}={text}" for name, text in texts.items()])
    variant = loaded.with_values(**changes)
    table = variant.recipe.table(variant.recipe.config)
    common = {
        "recipe": options.recipe,
        "values": texts,
        "fingerprint": variant.fingerprint(),
        "table": table.fingerprint(),
        "metric": variant.recipe.metric_of(table.required_target).name,
    }
    root = Path(options.root)
    # The backends alternate, so that two JAX jobs do not compile the same program at the same time.
    return [
        TrainingJob(
            backend=backend, seed=seed, fold=fold, folder=str(folder), pseudo=table.pseudo_record(fold), **common
        )
        for seed in options.seeds
        for fold in folds_of(table, options.folds)
        for backend in options.backends
        for folder in [default_folder(variant, backend, seed=seed, fold=fold, root=root)]
    ]


def folds_of(table: Any, text: str) -> Sequence[int]:
    """Return the fold numbers in a text such as "0,2", or all folds of the table for "all".

    Raises:
        ValueError: If the table has no such fold.
    """
    from kcomp.data.splits import fold_numbers, split

    if text == "all":
        return fold_numbers(table)
    folds = parse_numbers(text, "--fold")
    for fold in folds:
        split(table, fold)
    return folds


if __name__ == "__main__":
    main()
