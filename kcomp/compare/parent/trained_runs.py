"""Find the runs (trainings) whose scores are compared, and train the missing runs."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcomp.runs.folder import Run, check_own
from kcomp.system.processes import run_kcomp

RunKey = tuple[str, int, int]  # name of the backend in the report, seed, fold


def trained_runs(
    labels: Mapping[str, str],
    recipe: Path,
    setup: Mapping[str, Any],
    folder: Path,
    jobs: Sequence[tuple[int, int]],
    arguments: Sequence[str],
) -> dict[RunKey, Run]:
    """Return {(backend name, seed, fold): complete run}. Runs that are missing are trained first.

    Args:
        labels: The backend ("jax" or "torch") for each backend name in the report, such as "jax again".
        recipe: The path of the recipe.
        setup: Facts about the recipe, such as name and fingerprint.
        folder: The folder of the report. New runs are trained into its subfolder `runs`.
        jobs: Pairs of seed and fold.
        arguments: Further arguments of `kcomp train`.

    Raises:
        RuntimeError: If a training fails. The message has the command.
    """
    runs: dict[RunKey, Run] = {}
    for label, backend in labels.items():
        for seed, fold in jobs:
            name = f"{backend}-seed{seed}-fold{fold}"
            usual = Run(Path("runs") / setup["name"] / setup["fingerprint"] / name)
            own = Run(folder / "runs" / (name if label == backend else f"{label.replace(' ', '-')}-{name}"))
            expected = {key: setup[key] for key in ("fingerprint", "table")}
            expected |= {"pseudo": setup.get("pseudo", {}).get(str(fold)), "backend": backend}
            expected |= {"seed": seed, "fold": fold}
            run = usual if label == backend and is_complete(usual, expected) else own
            if not is_complete(run, expected):
                place = ["--seed", str(seed), "--fold", str(fold), "-o", str(run.folder)]
                train(label, backend, ["train", str(recipe), *place, *arguments])
            runs[label, seed, fold] = run
    return runs


def is_complete(run: Run, expected: Mapping[str, Any]) -> bool:
    """Return whether a run exists, was trained to its end, and has the manifest entries in `expected`."""
    try:
        check_own(run, expected)
    except ValueError:
        return False
    return run.complete


def train(label: str, backend: str, command: Sequence[str]) -> None:
    code = run_kcomp(command, backend)
    if code:
        line = shlex.join(["kcomp", *command, "--backend", backend])
        raise RuntimeError(f"training on {label} failed with exit code {code}: {line}")
