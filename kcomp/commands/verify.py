"""The command `kcomp verify`."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from kcomp.commands.common import check_output, output_option, use_backend
from kcomp.commands.diff import single_run
from kcomp.system.determinism import NAME
from kcomp.system.errors import UsageError, readable_errors
from kcomp.system.import_hook import lazy_keras


@click.command(short_help="Train a run again and compare the results.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--from", "weights", type=click.Path(path_type=Path), help="The weights from which the run started.")
@output_option("Keep the repeated run in this folder. Without it, the repeated run is removed.")
@readable_errors
def verify(run: Path, weights: Path | None, output: Path | None) -> None:
    """Train RUN again, and compare epochs, weights and predictions bit for bit.

    kcomp trains the recipe that is stored in the run folder, on the same backend, with an empty cache. If the results
    differ, kcomp names what differs: kcomp's code, data, versions, device or threads. The exit code is 0 if the
    results are equal, and 1 if not.
    """
    if output is not None:
        check_output(output, folder=True)
    first = single_run(run)
    manifest = check_verifiable(first, weights)
    with tempfile.TemporaryDirectory(prefix="kcomp-verify-") as folder:
        os.environ["KCOMP_CACHE"] = str(Path(folder) / "cache")
        os.environ[NAME] = str(int(manifest.get("deterministic", False)))
        use_backend(manifest["backend"])
        is_equal = repeat(first, output or Path(folder) / "run", weights)
    if not is_equal:
        sys.exit(1)


def check_verifiable(run: Any, weights: Path | None) -> dict[str, Any]:
    """Return the manifest of a run that one backend trained to its end from known weights. Raise UsageError else."""
    manifest: dict[str, Any] = run.manifest
    if not run.complete:
        raise UsageError(f"verify needs a complete run; {run.folder} is not complete")
    if manifest.get("soup"):
        raise UsageError(f"{run.folder} is a soup, which is not trained; make it again with kcomp soup")
    backends = list(dict.fromkeys(part["backend"] for part in manifest.get("history", [manifest])))
    if len(backends) > 1:
        raise UsageError(f"verify repeats a run of one backend; {' and '.join(backends)} trained {run.folder}")
    if manifest.get("pseudo"):
        raise UsageError(f"verify cannot repeat {run.folder}, which was trained on pseudo-labels")
    if (manifest.get("from") is None) != (weights is None):
        reason = "did not start from other weights" if weights else "started from other weights; name them with --from"
        raise UsageError(f"{run.folder} {reason}")
    return manifest


def repeat(first: Any, folder: Path, weights: Path | None) -> bool:
    """Train a run again in `folder`, print what differs, and return whether the results are equal."""
    from kcomp.commands.train import origin_of, read_table
    from kcomp.report.console import PlainConsole
    from kcomp.report.table import print_table
    from kcomp.reproduce.causes import causes
    from kcomp.reproduce.results import result_differences
    from kcomp.reproduce.text import verdict_lines
    from kcomp.runs.folder import Run

    console, manifest = PlainConsole(), first.manifest
    with lazy_keras():
        loaded = first.recipe()
        table = read_table(loaded)
    from kcomp.training.fit import train

    origin = origin_of(weights, table, [(manifest["seed"], manifest["fold"])]) if weights else None
    second = Run(folder)
    train(loaded, second, seed=manifest["seed"], fold=manifest["fold"], console=console, origin=origin, table=table)
    listed, differences = causes(first, second), result_differences(first, second)
    if listed:
        print_table(console, [vars(cause) for cause in listed])
    deterministic = all(run.manifest.get("deterministic") for run in (first, second))
    lines = verdict_lines(differences, listed, deterministic=deterministic, device=manifest["device"])
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return differences.are_none
