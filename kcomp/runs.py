"""The run folder: what lies where; any process, machine or framework may have made it."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kcomp.files import read_json, remove_leftovers, write_atomically, write_csv, write_json
from kcomp.recipe import Loaded, load
from kcomp.values import values_as_json, values_from_json

STATE = "state/epoch.npz"  # written when an epoch is recorded


@dataclass(frozen=True)
class Run:
    """A run folder; see docs/design.md for its files. It is complete once `result.json` is there."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def complete(self) -> bool:
        return (self / "result.json").is_file()

    @property
    def manifest(self) -> dict[str, Any]:
        return read_json(self / "manifest.json")

    @property
    def name(self) -> str:
        """What a file outside the run folder that belongs to it is called."""
        kept = self.manifest
        return f"{kept['recipe']}-{kept['fingerprint']}-{kept['backend']}-seed{kept['seed']}-fold{kept['fold']}"

    @property
    def result(self) -> dict[str, Any]:
        return read_json(self / "result.json")

    def recipe(self) -> Loaded:
        """The recipe as it was trained: the source and the values kept in this folder."""
        manifest = self.manifest
        loaded = load(self.folder / "recipe" / f"{manifest['recipe']}.py")
        kept = read_json(self / "config.json")
        return loaded.with_values(**values_from_json(loaded.recipe.values, kept))

    def probabilities(self, name: str) -> pd.DataFrame:
        """`oof`, `labels` (of the same rows) or `test`: one row an image id (the index), one float column a class."""
        path = self / f"{name}.csv"
        if not path.is_file():
            hint = f"run: kcomp predict {self.folder} --test TEST.csv" if name == "test" else "train it to its end"
            raise FileNotFoundError(f"{self.folder} has no {name}.csv; {hint}")
        return read_probabilities(path)


def default_folder(loaded: Loaded, backend: str, *, seed: int, fold: int, root: Path) -> Path:
    """`runs/<recipe>/<fingerprint>/<backend>-seed<S>-fold<K>`, under `root`."""
    return root / loaded.name / loaded.fingerprint() / f"{backend}-seed{seed}-fold{fold}"


def find(path: Path) -> list[Run]:
    """Every run at or below `path`, sorted by folder; a run is a folder with a manifest."""
    if (path / "manifest.json").is_file():
        return [Run(path)]
    return [Run(manifest.parent) for manifest in sorted(path.rglob("manifest.json"))]


def check_same(run: Run, manifest: Mapping[str, Any]) -> None:
    """Raise ValueError where the folder holds another experiment."""
    before = run.manifest if (run / "manifest.json").is_file() else manifest
    for name in ("fingerprint", "backend", "seed", "fold", "table"):
        if before.get(name) != manifest[name]:
            raise ValueError(
                f"{run.folder} holds a run with {name} {before.get(name)!r}; this one has {manifest[name]!r}. "
                "Choose another folder with -o, or remove that one"
            )


def start(run: Run, loaded: Loaded, manifest: Mapping[str, Any]) -> None:
    """Write the recipe, its values and the manifest, unless they are there."""
    if (run / "manifest.json").is_file():
        return
    for name, text in loaded.sources.items():
        write_atomically(run / "recipe" / name, text.encode())
    write_json(run / "config.json", values_as_json(loaded.recipe.values))
    write_json(run / "manifest.json", manifest)


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Hold the run's lock, which the system frees when the process ends, however it ends.

    Where an error ends the block before a first epoch was recorded, nothing of the run stays behind.
    """
    made = [folder for folder in (run.folder, *run.folder.parents) if not folder.exists()]
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another process is training {run.folder}; wait for it, or end it") from None
        remove_leftovers(run.folder)
        try:
            yield
        except BaseException:
            if not (run / STATE).is_file():
                discard(run, made)
            raise


def discard(run: Run, made: Sequence[Path]) -> None:
    """Remove what `start` and an unrecorded epoch wrote, and the folders `made` for it, innermost first."""
    shutil.rmtree(run / "recipe", ignore_errors=True)
    for name in ("config.json", "manifest.json", "best.weights.h5", "log.csv", "lock"):
        (run / name).unlink(missing_ok=True)
    for folder in made:
        with contextlib.suppress(OSError):  # another run has come into it
            folder.rmdir()


def write_probabilities(path: Path, ids: Sequence[str], classes: Sequence[str], values: np.ndarray) -> None:
    """Write `image_id` and one column a class; float32 is written with the digits that bring it back."""
    frame = pd.DataFrame(np.asarray(values), columns=list(classes))
    frame.insert(0, "image_id", list(ids))
    write_csv(path, frame)


def read_probabilities(path: Path) -> pd.DataFrame:
    """One row an image id (the index), one float column a class; ValueError for double ids, texts and NaN."""
    frame = pd.read_csv(path, dtype={"image_id": str}, keep_default_na=False, na_values=[""])
    if "image_id" not in frame or len(frame.columns) < 2:
        raise ValueError(f"{path} must have the column image_id and one column a class; it has {list(frame.columns)}")
    double = frame["image_id"][frame["image_id"].duplicated()]
    if len(double):
        raise ValueError(f"{path}: image ids must be unique; {double.iloc[0]!r} is double")
    indexed = frame.set_index("image_id")
    wrong = [name for name in indexed if not pd.api.types.is_numeric_dtype(indexed[name])]
    if wrong:
        raise ValueError(f"{path}: the columns {wrong} must hold numbers")
    values = indexed.to_numpy(np.float64)
    empty = indexed.index[~np.isfinite(values).all(1)]
    if len(empty):
        raise ValueError(f"{path}: {len(empty)} rows hold NaN or infinity, first {empty[0]!r}")
    return pd.DataFrame(values, indexed.index, indexed.columns, copy=False)  # one block: taking it out is no copy
