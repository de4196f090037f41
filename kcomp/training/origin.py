"""Start a run from the weights of another run, unless these were trained on rows that the new run holds out."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kcomp.data.splits import split
from kcomp.data.tables import Table
from kcomp.models.transfer import take_weights
from kcomp.runs.folder import Run, continued, find
from kcomp.targets import Target
from kcomp.training.session import Session

# The new run's manifest repeats these entries of the other run's manifest, under `from`.
ORIGIN_ENTRIES = ("recipe", "fingerprint", "backend", "seed", "fold", "table", "from", "soup")
SAME = 0.9  # two tables are the same data set if at least this share of their common ids has equal labels in both


@dataclass(frozen=True)
class Origin:
    """Weights of another training, from which a run starts.

    Attributes:
        weights: The path of the weights file.
        run: The run that trained the weights, or None for a file that belongs to no run.
        record: A description of the weights, the entry `from` of the new run's manifest.json.
    """

    weights: Path
    run: Run | None
    record: Mapping[str, Any]


def find_origin(path: Path) -> Origin:
    """Return the weights that a user names with `--from`.

    Args:
        path: A .weights.h5 file, the folder of a complete run, or a folder that contains exactly one run.

    Raises:
        ValueError: If the path is another file, the run is not complete, or there is not exactly one run.
        FileNotFoundError: If the run has no weights file.
    """
    run, weights = None, path
    if not path.is_file():
        runs = find(path)
        if len(runs) != 1:
            raise ValueError(
                f"--from takes one run folder, or a .weights.h5 file; at or below {path} are {len(runs)} runs"
                + "".join(f", first {other.folder}" for other in runs[:1])
            )
        run, weights = runs[0], runs[0] / "best.weights.h5"
    elif not path.name.endswith(".weights.h5"):
        raise ValueError(f"--from takes a run folder, or a file whose name ends in .weights.h5; received {path}")
    elif path.name == "best.weights.h5" and path.with_name("manifest.json").is_file():
        run = Run(path.parent)
    if run and not run.complete:
        raise ValueError(f"{run.folder} is not complete, so its weights may still change; train it to its end first")
    if not weights.is_file():
        raise FileNotFoundError(f"{weights.parent} has no {weights.name}")
    manifest = run.manifest if run else {}
    record = {name: manifest.get(name) for name in ORIGIN_ENTRIES} | {
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()
    }
    return Origin(weights, run, record)


def check_unseen(origin: Origin, table: Table, fold: int) -> None:
    """Raise ValueError if the weights to start from were trained on rows that the new run holds out.

    Args:
        origin: The weights to start from.
        table: The table of the new run.
        fold: The fold of this table that the new run holds out.
    """
    fingerprint = table.fingerprint()
    for number, record in enumerate(ancestors(origin.record)):
        if record.get("table") == fingerprint and record["fold"] != fold:
            subject = f"{origin.weights} " + ("comes from a run that " if number else "")
            raise ValueError(
                f"{subject}was trained on rows that fold {fold} holds out, for it held out fold {record['fold']} of "
                f"the same table: the scores would not be out of fold. Start from a run of fold {fold}, or of "
                "another table"
            )
    unseen, held_out = rows_unseen(origin, table), split(table, fold)[1].ids
    leaked = [image_id for image_id in held_out if unseen and image_id not in unseen]
    if leaked:
        raise ValueError(
            f"{origin.weights} was trained on the rows of this table in other folds, and fold {fold} holds out "
            f"{len(leaked)} rows that it did not hold out, first {leaked[0]!r}: the scores would not be out of fold"
        )


def ancestors(record: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield a description of starting weights, and of all weights that these were trained or averaged from."""
    if record is None:
        return
    yield record
    yield from ancestors(record.get("from"))
    for ingredient in (record.get("soup") or {}).get("ingredients", ()):
        yield from ancestors(ingredient)


def rows_unseen(origin: Origin, table: Table) -> set[str]:
    """Return the ids of the rows that the run of `origin` held out. Empty if that run used another data set.

    Tables belong to one data set if they have the same classes and nearly equal labels for common ids.
    """
    if origin.run is None:
        return set()
    theirs = origin.run.probabilities("labels")
    ours = table.frame.set_index("image_id")
    shared = theirs.index.intersection(ours.index)
    if not len(shared) or set(theirs.columns) != set(table.columns):
        return set()
    values, own = (frame.loc[shared, list(table.columns)].to_numpy(np.float64) for frame in (theirs, ours))
    same = (np.abs(values - own) < 1e-4) | (np.isnan(values) & np.isnan(own))
    return set(theirs.index) if same.all(1).mean() >= SAME else set()


def start_from(origin: Origin, network: keras.Model, target: Target) -> str:
    """Load the weights of `origin` into the network, and return a text to print, with the name of the file.

    The head's outputs are matched by class name. If the targets differ, the head keeps its initial weights.
    """
    order = target.head_order(origin.run.target if origin.run else target)
    head = take_weights(network, origin.weights, order=order, head=order is not None)
    exception = "" if head else ", but for the head, which stays as the recipe makes it: the target differs"
    return f"starts from the weights of {origin.weights}{exception}"


def take_over(session: Session, manifest: Mapping[str, Any], origin: Origin | None) -> None:
    """Load the weights of `origin` into a new run, or print that a run continues on the other backend."""
    run, progress, text = session.run, session.progress, ""
    epochs = progress.epochs
    if progress.has_begun:
        parts = continued(run.manifest, manifest, epochs, progress.batches).get("history", [manifest])
        if parts[-1].get("epoch") == epochs + 1 and parts[-2]["backend"] != manifest["backend"]:
            text = f"continues on {manifest['backend']} what {parts[-2]['backend']} trained, at epoch {epochs + 1}"
    elif origin is not None:
        text = start_from(origin, session.network, session.target)
    if text:
        session.console.print(f"{run.folder} {text}", highlight=False, soft_wrap=True)
