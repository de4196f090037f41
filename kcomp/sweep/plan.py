"""python -m kcomp.sweep.plan ASKED ANSWER: load the recipe, and write the jobs that a sweep asks for.

A process of its own: a recipe imports Keras, and whoever starts the jobs must neither have a backend nor hold a GPU.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from kcomp.sweep.jobs import Job
from kcomp.system.backends import prepare_backend
from kcomp.system.die_with_parent import die_with_parent
from kcomp.system.errors import UsageError, parse_numbers, readable_errors
from kcomp.system.files import read_json, write_json


@dataclass(frozen=True)
class Asked:
    """What the command line asks for; `folds` may be "all", `assignments` are lists of values."""

    recipe: str
    backends: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: str
    assignments: tuple[str, ...]
    root: str
    debug: bool = False


def plan(asked: Asked) -> tuple[list[Job], dict[str, str]]:
    """The jobs, each once, and the recipe's files by name; SystemExit with the process's code where it cannot be."""
    with tempfile.TemporaryDirectory(prefix="kcomp-sweep-") as folder:
        places = Path(folder) / "asked.json", Path(folder) / "answer.json"
        write_json(places[0], asdict(asked))
        command = [sys.executable, "-m", "kcomp.sweep.plan", *map(str, places), *["--debug"] * asked.debug]
        # a session of its own: ctrl-C reaches this process alone, which says so once and ends that one
        code = subprocess.run(die_with_parent(command), check=False, start_new_session=True).returncode
        if code:
            raise SystemExit(code)
        answer = read_json(places[1])
    return [Job(**job) for job in answer["jobs"]], answer["sources"]


@click.command()
@click.argument("asked", type=click.Path(path_type=Path))
@click.argument("answer", type=click.Path(path_type=Path))
@click.option("--debug", is_flag=True)
@readable_errors
def main(asked: Path, answer: Path, debug: bool) -> None:
    """Do what the file asks."""
    kept = read_json(asked)
    given = Asked(**{**kept, **{name: tuple(kept[name]) for name in ("backends", "seeds", "assignments")}})
    prepare_backend(given.backends[0])
    from kcomp import recipe as recipes
    from kcomp.sweep.variants import variants

    loaded = recipes.load(given.recipe)
    try:
        chosen = variants(loaded, given.assignments)
    except ValueError as error:
        raise UsageError(error) from error
    jobs = [job for texts in chosen for job in jobs_of(given, loaded, texts)]
    once = {job.folder: job for job in reversed(jobs)}  # values may be said in two ways: 1e-3 and 0.001
    write_json(answer, {"jobs": [job.as_json() for job in jobs if once[job.folder] is job], "sources": loaded.sources})


def jobs_of(asked: Asked, loaded: Any, texts: dict[str, str]) -> list[Job]:
    """The jobs of one combination of values. Backends alternate: beside a job that compiles on JAX another backend's
    runs, and the next of JAX finds what was compiled."""
    from kcomp.runs.folder import default_folder
    from kcomp.values import parse_values

    changes = parse_values(loaded.recipe.config, [f"{name}={text}" for name, text in texts.items()])
    variant = loaded.with_values(**changes)
    table = variant.recipe.table(variant.recipe.config)
    common = {
        "recipe": asked.recipe,
        "values": texts,
        "fingerprint": variant.fingerprint(),
        "table": table.fingerprint(),
        "monitor": variant.recipe.monitor or "log_loss",
    }
    root = Path(asked.root)
    return [
        Job(backend=backend, seed=seed, fold=fold, folder=str(folder), pseudo=table.pseudo_record(fold), **common)
        for seed in asked.seeds
        for fold in folds_of(table, asked.folds)
        for backend in asked.backends
        for folder in [default_folder(variant, backend, seed=seed, fold=fold, root=root)]
    ]


def folds_of(table: Any, text: str) -> Sequence[int]:
    """The folds asked for; ValueError where the table lacks one."""
    from kcomp.data.splits import fold_numbers, split

    if text == "all":
        return fold_numbers(table)
    wanted = parse_numbers(text, "--fold")
    for fold in wanted:
        split(table, fold)
    return wanted


if __name__ == "__main__":
    main()
