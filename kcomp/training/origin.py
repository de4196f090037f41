"""Another run's weights to start from: where they are, what made them, and which rows they have seen."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kcomp.data.splits import split
from kcomp.data.tables import Table
from kcomp.models.transfer import take_weights
from kcomp.runs.folder import Run, find

KEPT = ("recipe", "fingerprint", "backend", "seed", "fold", "table", "from", "soup")  # of the other run's manifest
SAME = 0.9  # of the labels that two tables give to the same ids, from which on they are one data set


@dataclass(frozen=True)
class Origin:
    """A weights file, the run that it is the kept epoch of (None for a file from elsewhere), and what the manifest of
    a run that starts from it keeps under `from`."""

    weights: Path
    run: Run | None
    record: Mapping[str, Any]


def find_origin(path: Path) -> Origin:
    """The weights that a path means: one complete run at or below it, or a .weights.h5 file.

    FileNotFoundError or ValueError where there is no such run or file, or more than one.
    """
    run, weights = None, path
    if not path.is_file():
        found = find(path)
        if len(found) != 1:
            raise ValueError(
                f"--from takes one run folder, or a .weights.h5 file; at or below {path} are {len(found)} runs"
                + "".join(f", first {other.folder}" for other in found[:1])
            )
        run, weights = found[0], found[0] / "best.weights.h5"
    elif not path.name.endswith(".weights.h5"):
        raise ValueError(f"--from takes a run folder, or a file whose name ends in .weights.h5; received {path}")
    elif path.name == "best.weights.h5" and path.with_name("manifest.json").is_file():
        run = Run(path.parent)
    if run and not run.complete:
        raise ValueError(f"{run.folder} is not complete, so its weights may still change; train it to its end first")
    if not weights.is_file():
        raise FileNotFoundError(f"{weights.parent} has no {weights.name}")
    kept = run.manifest if run else {}
    record = {name: kept.get(name) for name in KEPT} | {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    return Origin(weights, run, record)


def check_unseen(origin: Origin, table: Table, fold: int) -> None:
    """Raise ValueError where the weights were trained on rows that this fold holds out, as far as can be known.

    That is so where the other run, or one that it started from in turn, held out another fold of this table; or where
    the rows it held out lie in this table, by id and label, under other folds.
    """
    here = table.fingerprint()
    for number, record in enumerate(ancestors(origin.record)):
        if record.get("table") == here and record["fold"] != fold:
            who = f"{origin.weights} " + ("comes from a run that " if number else "")
            raise ValueError(
                f"{who}was trained on rows that fold {fold} holds out, for it held out fold {record['fold']} of the "
                f"same table: the scores would not be out of fold. Start from a run of fold {fold}, or of another table"
            )
    unseen, wanted = rows_unseen(origin, table), split(table, fold)[1].ids
    leaked = [image_id for image_id in wanted if unseen and image_id not in unseen]
    if leaked:
        raise ValueError(
            f"{origin.weights} was trained on the rows of this table in other folds, and fold {fold} holds out "
            f"{len(leaked)} rows that it did not hold out, first {leaked[0]!r}: the scores would not be out of fold"
        )


def ancestors(record: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if record is None:
        return
    yield record
    yield from ancestors(record.get("from"))
    for ingredient in (record.get("soup") or {}).get("ingredients", ()):
        yield from ancestors(ingredient)


def rows_unseen(origin: Origin, table: Table) -> set[str]:
    """The ids that the other run held out, if it was trained on this table's rows; none where that is not so.

    It is so where some of these ids are this table's, and nine in ten of those or more have the same label of the same
    classes: a few labels may have been corrected since.
    """
    if origin.run is None:
        return set()
    theirs = origin.run.probabilities("labels")
    ours = table.frame.set_index("image_id")
    shared = theirs.index.intersection(ours.index)
    if not len(shared) or set(theirs.columns) != set(table.classes):
        return set()
    same = (theirs.loc[shared, list(table.classes)] - ours.loc[shared, list(table.classes)]).abs().to_numpy() < 1e-4
    return set(theirs.index) if same.all(1).mean() >= SAME else set()


def start_from(origin: Origin, network: keras.Model, classes: tuple[str, ...]) -> str:
    """Give the network these weights, its outputs joined by the names of the classes, and say what was taken.

    The head stays as the recipe makes it where the classes are others.
    """
    theirs = origin.run.manifest["classes"] if origin.run else list(classes)
    same = set(theirs) == set(classes)
    order = [theirs.index(name) for name in classes] if same else None
    head = take_weights(network, origin.weights, order=order, head=same)
    kept = "" if head else ", but for the head, which stays as the recipe makes it: the classes are others"
    return f"starts from the weights of {origin.weights}{kept}"
