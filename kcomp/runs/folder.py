"""The run folder: what lies where; any process, machine or framework may have made it."""

import contextlib
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kcomp.recipe import Loaded, load
from kcomp.runs.probabilities import read_probabilities
from kcomp.system.errors import BusyError
from kcomp.system.files import DamagedError, read_json, remove_leftovers, write_atomically, write_json
from kcomp.system.locks import try_lock
from kcomp.values import values_as_json, values_from_json

ATTEMPTS = 5  # to take a lock, because `Run.busy` holds it for a moment
STATE = "state/epoch.npz"  # written when an epoch is recorded
NEEDED = ("recipe", "fingerprint", "backend", "seed", "fold", "table", "classes")  # in every manifest
PARTS = ("backend", "device", "versions")  # of a manifest: what may change when a run is continued


@dataclass(frozen=True)
class Run:
    """A run folder; docs/internals/run-folders.md lists its files. It is complete once `result.json` is there."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def complete(self) -> bool:
        return (self / "result.json").is_file()

    @property
    def manifest(self) -> dict[str, Any]:
        return read_checked(self / "manifest.json", NEEDED)

    @property
    def busy(self) -> bool:
        """Whether a process trains it now."""
        if not (self / "lock").is_file():
            return False
        with contextlib.suppress(OSError):
            lock = try_lock(self / "lock", attempts=ATTEMPTS, pause=0.01)
            if lock is None:
                return True
            lock.close()
        return False

    def log(self) -> list[dict[str, Any]]:
        """The rows of log.csv, one an epoch; none where there is no file yet."""
        try:
            rows = pd.read_csv(self / "log.csv")
        except (OSError, ValueError):
            return []
        return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]

    @property
    def name(self) -> str:
        """What a file outside the run folder that belongs to it is called."""
        kept = self.manifest
        return f"{kept['recipe']}-{kept['fingerprint']}-{made_by(kept)}-seed{kept['seed']}-fold{kept['fold']}"

    @property
    def result(self) -> dict[str, Any]:
        """A score that is not a number is null in the file, and NaN here."""
        kept = read_checked(self / "result.json", ("scores", "seconds"))
        scores = {name: math.nan if value is None else value for name, value in kept["scores"].items()}
        return kept | {"scores": scores}

    @property
    def weights(self) -> list[Path]:
        """The weights files whose probabilities the run predicts the mean of: one, or several snapshots."""
        averaged = self.result.get("average") or {}
        return [self / name for name in averaged.get("weights", ["best.weights.h5"])]

    def recipe(self) -> Loaded:
        """The recipe as it was trained: the source and the values kept in this folder."""
        manifest = self.manifest
        loaded = load(self.folder / "recipe" / f"{manifest['recipe']}.py")
        kept = read_json(self / "config.json")
        return loaded.with_values(**values_from_json(loaded.recipe.config, kept))

    def probabilities(self, name: str) -> pd.DataFrame:
        """`oof`, `labels` (of the same rows) or `test`: one row an image id (the index), one float column a class."""
        return read_probabilities(self.file(name))

    def file(self, name: str) -> Path:
        """The CSV of this name; FileNotFoundError says what makes it."""
        path = self / f"{name}.csv"
        if not path.is_file():
            predict = f"run: kcomp predict {self.folder} (with --test, unless the recipe has test rows of its own)"
            hint = predict if name == "test" else "train it to its end"
            raise FileNotFoundError(f"{self.folder} has no {name}.csv; {hint}")
        return path


def read_checked(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    """The JSON object of this file; DamagedError where it lacks one of the names that are needed."""
    cure = "remove it, and train the run to its end again" if path.name == "result.json" else "remove its folder"
    try:
        found = read_json(path)
    except DamagedError as error:
        raise DamagedError(f"{error}; {cure}") from error
    missing = [name for name in needed if name not in found]
    if missing:
        raise DamagedError(f"{path} is damaged: it lacks {', '.join(missing)}; {cure}")
    return found


def made_by(manifest: Mapping[str, Any]) -> str:
    """What trained a run, for names: `jax`; `jax-torch` where PyTorch continued what JAX began; and with
    `-from-<8 digits>`, of the hash of the weights, where it did not start from the recipe's own. A soup, an average of
    runs, is `soup-<8 digits>`."""
    if manifest.get("soup"):
        return f"soup-{manifest['soup']['key']}"
    backends = [part["backend"] for part in manifest.get("history", [manifest])]
    names = [name for name, before in zip(backends, [None, *backends], strict=False) if name != before]
    origin = manifest.get("from")
    return "-".join([*names, *(["from", origin["sha256"][:8]] if origin else [])])


def member_of(manifest: Mapping[str, Any]) -> str:
    """What the runs of one ensemble member share beside recipe and seed: as `made_by`, but where each fold started from
    another run's weights, that run's fingerprint stands for the hash, which differs by fold."""
    origin, name = manifest.get("from"), made_by({**manifest, "from": None})
    return f"{name}-from-{(origin.get('fingerprint') or origin['sha256'])[:8]}" if origin else name


def default_folder(
    loaded: Loaded, backend: str, *, seed: int, fold: int, root: Path, origin: Mapping[str, Any] | None = None
) -> Path:
    """`runs/<recipe>/<fingerprint>/<backend>-seed<S>-fold<K>`, under `root`; `origin` is the manifest's `from`."""
    name = made_by({"backend": backend, "from": origin})
    return root / loaded.name / loaded.fingerprint() / f"{name}-seed{seed}-fold{fold}"


def find(path: Path) -> list[Run]:
    """Every run at or below `path`, sorted by folder; a run is a folder with a manifest."""
    if (path / "manifest.json").is_file():
        return [Run(path)]
    return [Run(manifest.parent) for manifest in sorted(path.rglob("manifest.json"))]


def check_same(run: Run, manifest: Mapping[str, Any], *, across: bool = False) -> None:
    """Raise ValueError where the folder holds another experiment.

    across: an unfinished run of the other backend is the same experiment, to be continued.
    """
    before = run.manifest if (run / "manifest.json").is_file() else manifest
    if before.get("soup"):
        raise ValueError(f"{run.folder} holds a soup, which is not trained; choose another folder with -o")
    for name in ("fingerprint", "seed", "fold", "table", "pseudo"):
        if before.get(name) != manifest.get(name):
            raise ValueError(other_run(run, name, before.get(name), manifest.get(name)))
    if weights_hash(before) != weights_hash(manifest):
        raise ValueError(other_run(run, "--from weights with the hash", weights_hash(before), weights_hash(manifest)))
    backends = before["backend"], manifest["backend"]
    if backends[0] != backends[1] and (run.complete or not across):
        hint = "" if run.complete else f". To continue it on {backends[1]}, say both -o and --backend {backends[1]}"
        raise ValueError(other_run(run, "backend", *backends) + hint)


def check_own(run: Run, wanted: Mapping[str, Any]) -> None:
    """Raise ValueError where the folder holds another run than `wanted`, of which the names that `check_same` compares
    are given, or one that is not its backend's alone from the recipe's own start."""
    check_same(run, wanted)
    made = made_by(run.manifest) if (run / "manifest.json").is_file() else wanted["backend"]
    if made != wanted["backend"]:
        raise ValueError(other_run(run, "backend", made, wanted["backend"]))


def weights_hash(manifest: Mapping[str, Any]) -> str | None:
    """SHA-256 of the weights a run started from, None where they were the recipe's own."""
    return (manifest.get("from") or {}).get("sha256")


def other_run(run: Run, name: str, held: Any, wanted: Any) -> str:
    return (
        f"{run.folder} holds a run with {name} {held!r}; this one has {wanted!r}. "
        "Choose another folder with -o, or remove that one"
    )


def start(run: Run, loaded: Loaded, manifest: Mapping[str, Any], epochs: int) -> None:
    """Write the recipe, its values and the manifest; where they are there, note who goes on after `epochs` epochs."""
    if (run / "manifest.json").is_file():
        before = run.manifest
        after = continued(before, manifest, epochs)
        if after != before:
            write_json(run / "manifest.json", after)
        return
    for name, text in loaded.sources.items():
        write_atomically(run / "recipe" / name, text.encode())
    write_json(run / "config.json", values_as_json(loaded.recipe.config))
    write_json(run / "manifest.json", manifest)


def continued(before: Mapping[str, Any], now: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The manifest `before` of a run that the process of the manifest `now` goes on with, after `epochs` epochs.

    Backend, device and versions become those of `now`. `history` lists who trained from which epoch (from 1) on,
    where that was not the same throughout; who finished no epoch drops out of it.
    """
    trained = [part for part in before.get("history", [{"epoch": 1, **before}]) if part["epoch"] <= epochs]
    parts: list[dict[str, Any]] = []
    for part in (*trained, {"epoch": epochs + 1, **now}):
        told = {name: part[name] for name in PARTS}
        if not parts or any(parts[-1][name] != told[name] for name in PARTS):
            parts.append({"epoch": part["epoch"], **told})
    kept = {name: value for name, value in before.items() if name != "history"}
    return kept | {name: now[name] for name in PARTS} | ({"history": parts} if len(parts) > 1 else {})


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Hold the run's lock, which the system frees when the process ends, however it ends.

    Where an error ends the block before a first epoch was recorded, nothing of a new run stays behind. ValueError for
    a folder that holds something else.
    """
    check_run_folder(run)
    begun = (run / "manifest.json").is_file()
    made = [folder for folder in (run.folder, *run.folder.parents) if not folder.exists()]
    run.folder.mkdir(parents=True, exist_ok=True)
    before = set(run.folder.iterdir())
    lock = try_lock(run / "lock", attempts=ATTEMPTS)
    if lock is None:
        raise BusyError(f"another process is training {run.folder}; wait for it, or end it")
    with lock:
        remove_leftovers(run.folder)
        try:
            yield
        except BaseException:
            if not begun and not (run / STATE).is_file():
                discard(run, before, made)
            raise


def check_run_folder(run: Run) -> None:
    """Raise ValueError for a folder that has files and is no run: what a run leaves behind is removed, yours is not."""
    if run.folder.is_dir() and not any((run / name).is_file() for name in ("manifest.json", "lock")):
        found = sorted(path.name for path in run.folder.iterdir())
        if found:
            raise ValueError(
                f"a run needs a folder of its own; {run.folder} is no run and holds {len(found)} files or folders, "
                f"first {found[0]!r}. Choose another one with -o"
            )


def discard(run: Run, before: Set[Path], made: Sequence[Path]) -> None:
    """Remove what was not there `before` in the run folder, and the folders `made` for it, innermost first."""
    for path in set(run.folder.iterdir()) - before:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in made:
        with contextlib.suppress(OSError):  # another run has come into it
            folder.rmdir()
