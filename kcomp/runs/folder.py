"""The folder of a run: one training of a recipe with one backend, seed and fold."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kcomp.recipe import Loaded, load
from kcomp.runs.probabilities import read_probabilities
from kcomp.runs.stored import plain_name, read_manifest, read_result
from kcomp.system.files import DamagedError, read_json, write_atomically, write_json
from kcomp.system.locks import try_lock
from kcomp.targets import Target, target_from_json
from kcomp.values import values_as_json, values_from_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ATTEMPTS = 5  # how often to try to lock a run, because `Run.busy` of another process locks it for a moment
STATE = "state/epoch.npz"  # file with everything that a stopped run needs to continue
BEFORE = "state/before.npz"  # the same file of the save before it, in case that STATE is damaged
SAME = ("fingerprint", "seed", "fold", "table", "pseudo")  # entries that identify a run
# entries of a manifest.json that may change when a run is continued
PARTS = ("backend", "device", "processor", "threads", "deterministic", "fast", "versions")


@dataclass(frozen=True)
class Run:
    """The folder of a run: one training of a recipe with one backend, seed and fold.

    The run is complete if the folder contains result.json.

    Args:
        folder: The path of the folder, which need not exist yet.

    Examples:
        >>> import kcomp
        >>> kcomp.Run("runs/digits/0123456789abcdef/jax-seed0-fold0").complete
        False
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # the caller may pass a text

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def complete(self) -> bool:
        return (self / "result.json").is_file()

    @property
    def manifest(self) -> dict[str, Any]:
        return read_manifest(self / "manifest.json")

    @property
    def busy(self) -> bool:
        """Whether a process is training this run now."""
        if not (self / "lock").is_file():
            return False
        with contextlib.suppress(OSError):
            lock = try_lock(self / "lock", attempts=ATTEMPTS, pause=0.01)
            if lock is None:
                return True
            lock.close()
        return False

    @property
    def log(self) -> pd.DataFrame:
        """The content of log.csv, with one row for each epoch. Empty if the file is missing or cannot be read."""
        try:
            return pd.read_csv(self / "log.csv")
        except (OSError, ValueError):
            return pd.DataFrame()

    def log_rows(self) -> list[dict[str, Any]]:
        """Return the rows of `log` as dictionaries."""
        return [{str(name): value for name, value in row.items()} for row in self.log.to_dict("records")]

    @property
    def oof(self) -> pd.DataFrame:
        """The predictions of the held-out rows (out-of-fold): one row for each image id, one column for each class."""
        return self.probabilities("oof")

    @property
    def labels(self) -> pd.DataFrame:
        """The labels of the held-out rows: one row for each image id, one column for each class. NaN if missing."""
        return self.probabilities("labels")

    @property
    def test(self) -> pd.DataFrame:
        """The predictions of the test rows that `kcomp predict` wrote: one row for each image id."""
        return self.probabilities("test")

    def plot(self) -> "Figure":
        """Return a matplotlib figure with the loss, the scores and the learning rate of each epoch.

        Raises:
            ValueError: If the run has no finished epoch.
        """
        from kcomp.runs.log_plot import plot_log

        log = self.log
        if log.empty:
            raise ValueError(f"a plot needs at least one finished epoch; {self.folder}/log.csv has none")
        best = self.result.get("epoch") if self.complete else None
        return plot_log(log, self.manifest["scores"], best=best, title=str(self.folder))

    @property
    def name(self) -> str:
        """A text that identifies this run in the names of files outside of its folder."""
        manifest = self.manifest
        parts = (manifest["recipe"], manifest["fingerprint"], made_by(manifest))
        return plain_name((*parts, f"seed{manifest['seed']}", f"fold{manifest['fold']}"), self / "manifest.json")

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json. A score that is null in the file becomes NaN."""
        content = read_result(self / "result.json")
        scores = {name: math.nan if value is None else value for name, value in content["scores"].items()}
        return content | {"scores": scores}

    @property
    def weights(self) -> list[Path]:
        """The paths of the weights files. There are several if the run averages the predictions of snapshots."""
        averaged = self.result.get("average") or {}
        return [self / name for name in averaged.get("weights", ["best.weights.h5"])]

    @property
    def target(self) -> Target:
        """The kind of labels (classes, several labels, numbers or grades), fitted to the training rows."""
        try:
            return target_from_json(self.manifest["target"])
        except ValueError as error:
            raise DamagedError(f"{self / 'manifest.json'} is damaged: {error}") from error

    def recipe(self) -> Loaded:
        """Load the recipe from the source and the values that are stored in this folder."""
        manifest = self.manifest
        loaded = load(self.folder / "recipe" / f"{manifest['recipe']}.py")
        stored = read_json(self / "config.json")
        return loaded.with_values(**values_from_json(loaded.recipe.config, stored))

    def probabilities(self, name: str) -> pd.DataFrame:
        """Return the content of oof.csv, labels.csv or test.csv: one row for each image id (the index), float columns.

        name: "oof", "labels" or "test". Missing labels become NaN.
        """
        return read_probabilities(self.file(name), missing=name == "labels")

    def file(self, name: str) -> Path:
        path = self / f"{name}.csv"
        if not path.is_file():
            predict = f"run: kcomp predict {self.folder} (with --test, unless the recipe has test rows)"
            hint = predict if name == "test" else "train it to its end"
            raise FileNotFoundError(f"{self.folder} has no {name}.csv; {hint}")
        return path


def made_by(manifest: Mapping[str, Any]) -> str:
    """Return how a run was trained: `jax`, or `jax-torch` if PyTorch continued a run of JAX.

    For a run that started from other weights (`--from`), `-from-` and digits of their hash follow. For a soup (average
    of the weights of several runs), the text is `soup-` and digits.
    """
    if manifest.get("soup"):
        return f"soup-{manifest['soup']['key']}"
    backends = [part["backend"] for part in manifest.get("history", [manifest])]
    names = [name for name, before in zip(backends, [None, *backends], strict=False) if name != before]
    origin = manifest.get("from")
    return "-".join([*names, *(["from", origin["sha256"][:8]] if origin else [])])


def member_of(manifest: Mapping[str, Any]) -> str:
    """Return a text like `made_by`, but equal for all folds, so that an ensemble can group the folds."""
    origin, name = manifest.get("from"), made_by({**manifest, "from": None})
    return f"{name}-from-{(origin.get('fingerprint') or origin['sha256'])[:8]}" if origin else name


def default_folder(
    loaded: Loaded, backend: str, *, seed: int, fold: int, root: Path, origin: Mapping[str, Any] | None = None
) -> Path:
    """Return the folder that `kcomp train` chooses: `<root>/<recipe>/<fingerprint>/<backend>-seed<S>-fold<K>`.

    `origin` is the entry "from" of manifest.json, if the run starts from the weights of another run.
    """
    name = made_by({"backend": backend, "from": origin})
    return root / loaded.name / loaded.fingerprint() / f"{name}-seed{seed}-fold{fold}"


def find(path: Path) -> list[Run]:
    """Return all runs in `path` and its subfolders, sorted by path. A run is a folder with a manifest.json."""
    if (path / "manifest.json").is_file():
        return [Run(path)]
    return [Run(manifest.parent) for manifest in sorted(path.rglob("manifest.json"))]


def check_same(run: Run, manifest: Mapping[str, Any], *, across: bool = False) -> None:
    """Raise ValueError if the folder already contains another run than `manifest` (a manifest.json) describes.

    With `across`, an unfinished run of another backend is accepted.
    """
    before = run.manifest if (run / "manifest.json").is_file() else manifest
    if before.get("soup"):
        raise ValueError(f"{run.folder} holds a soup, which is not trained; choose another folder with -o")
    for name in SAME:
        if before.get(name) != manifest.get(name):
            raise ValueError(describe_other_run(run, name, before.get(name), manifest.get(name)))
    if weights_hash(before) != weights_hash(manifest):
        raise ValueError(
            describe_other_run(run, "--from weights with the hash", weights_hash(before), weights_hash(manifest))
        )
    backends = before["backend"], manifest["backend"]
    if backends[0] != backends[1] and (run.complete or not across):
        hint = "" if run.complete else f". To continue it on {backends[1]}, say both -o and --backend {backends[1]}"
        raise ValueError(describe_other_run(run, "backend", *backends) + hint)


def check_own(run: Run, manifest: Mapping[str, Any]) -> None:
    """Raise ValueError unless the folder is free for the run that `manifest` (a manifest.json) describes.

    Unlike `check_same`, also reject a run of several backends, or one that started from the weights of another run.
    """
    check_same(run, manifest)
    backends = made_by(run.manifest) if (run / "manifest.json").is_file() else manifest["backend"]
    if backends != manifest["backend"]:
        raise ValueError(describe_other_run(run, "backend", backends, manifest["backend"]))


def weights_hash(manifest: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of the weights that a run started from (`--from`). None without such weights."""
    return (manifest.get("from") or {}).get("sha256")


def describe_other_run(run: Run, name: str, existing: Any, requested: Any) -> str:
    return (
        f"{run.folder} holds a run with {name} {existing!r}; this one has {requested!r}. "
        "Choose another folder with -o, or remove that one"
    )


def start(run: Run, loaded: Loaded, manifest: Mapping[str, Any], epochs: int, batches: int = 0) -> None:
    """Create the files of a new run (recipe, values, manifest.json), or update manifest.json of an existing run.

    manifest: The content of manifest.json, as this process would write it.
    epochs: How many epochs are already trained.
    batches: How many batches of the next epoch are already trained.
    """
    if (run / "manifest.json").is_file():
        before = run.manifest
        after = continued(before, manifest, epochs, batches)
        if after != before:
            write_json(run / "manifest.json", after)
        return
    for name, text in loaded.sources.items():
        write_atomically(run / "recipe" / name, text.encode())
    write_json(run / "config.json", values_as_json(loaded.recipe.config))
    write_json(run / "manifest.json", manifest)


def continued(before: Mapping[str, Any], now: Mapping[str, Any], epochs: int, batches: int = 0) -> dict[str, Any]:
    """Return the content of manifest.json for a run that is continued after `epochs` epochs and `batches` batches.

    If the backend, the machine or the versions changed, the entry "history" lists them for each process.

    before: The present content of manifest.json.
    now: The description of the process that continues the run.
    """
    begun = epochs + (1 if batches else 0)
    trained = [part for part in before.get("history", [{"epoch": 1, **before}]) if part["epoch"] <= begun]
    parts: list[dict[str, Any]] = []
    for part in (*trained, {"epoch": epochs + 1, **now}):
        entry = {name: part[name] for name in PARTS if name in part}
        if not parts or {"epoch": parts[-1]["epoch"], **entry} != parts[-1]:
            parts.append({"epoch": part["epoch"], **entry})
    unchanged = {name: value for name, value in before.items() if name != "history"}
    present = {name: now[name] for name in PARTS if name in now}
    return unchanged | present | ({"history": parts} if len(parts) > 1 else {})
