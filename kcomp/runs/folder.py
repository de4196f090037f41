"""The files of a run folder. Any process, machine or backend may have written them."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kcomp.recipe import Loaded, load
from kcomp.runs.probabilities import read_probabilities
from kcomp.system.files import DamagedError, read_json, write_atomically, write_json
from kcomp.system.locks import try_lock
from kcomp.targets import Target, target_from_json
from kcomp.values import values_as_json, values_from_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ATTEMPTS = 5  # attempts to lock a run; one may fail, because `Run.busy` of another process locks it briefly
STATE = "state/epoch.npz"  # the state from which a stopped run continues
NEEDED = (
    "recipe",
    "fingerprint",
    "backend",
    "seed",
    "fold",
    "table",
    "classes",
    "metric",
    "scores",
)  # names that every manifest has
PARTS = ("backend", "device", "versions")  # names in a manifest whose values may change when a run is continued


@dataclass(frozen=True)
class Run:
    """The folder of a run, which is complete if it has `result.json`. docs/internals/run-folders.md lists all files.

    Args:
        folder: The path of the folder, which need not exist yet.

    Examples:
        >>> import kcomp
        >>> kcomp.Run("runs/digits/0123456789abcdef/jax-seed0-fold0").complete
        False
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # also takes a text

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
        """Return whether a process is training this run now."""
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
        """Return log.csv, one row for each epoch. The table is empty if the file is missing or cannot be read."""
        try:
            return pd.read_csv(self / "log.csv")
        except (OSError, ValueError):
            return pd.DataFrame()

    def log_rows(self) -> list[dict[str, Any]]:
        """Return the rows of `log` as dictionaries."""
        return [{str(name): value for name, value in row.items()} for row in self.log.to_dict("records")]

    @property
    def oof(self) -> pd.DataFrame:
        """Return the predictions of the held-out rows, by image id."""
        return self.probabilities("oof")

    @property
    def labels(self) -> pd.DataFrame:
        """Return the labels of the held-out rows, by image id. A missing label is NaN."""
        return self.probabilities("labels")

    @property
    def test(self) -> pd.DataFrame:
        """Return the predictions of the test rows, by image id, which `kcomp predict` writes."""
        return self.probabilities("test")

    def plot(self) -> "Figure":
        """Return a matplotlib figure of the log: the loss, the scores and the learning rate by epoch.

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
        """Return a name for files of this run that are not in its folder."""
        manifest = self.manifest
        start = f"{manifest['recipe']}-{manifest['fingerprint']}-{made_by(manifest)}"
        return f"{start}-seed{manifest['seed']}-fold{manifest['fold']}"

    @property
    def result(self) -> dict[str, Any]:
        """Return the content of result.json. A score that is null in the file becomes NaN."""
        content = read_checked(self / "result.json", ("scores", "seconds"))
        scores = {name: math.nan if value is None else value for name, value in content["scores"].items()}
        return content | {"scores": scores}

    @property
    def weights(self) -> list[Path]:
        """Return the weights files. With several (snapshots), the run predicts the mean of their predictions."""
        averaged = self.result.get("average") or {}
        return [self / name for name in averaged.get("weights", ["best.weights.h5"])]

    @property
    def target(self) -> Target:
        """Return the target, with its statistics of the training rows."""
        return target_from_json(self.manifest["target"])

    def recipe(self) -> Loaded:
        """Load the recipe of this run from the source and the values in its folder."""
        manifest = self.manifest
        loaded = load(self.folder / "recipe" / f"{manifest['recipe']}.py")
        stored = read_json(self / "config.json")
        return loaded.with_values(**values_from_json(loaded.recipe.config, stored))

    def probabilities(self, name: str) -> pd.DataFrame:
        """Read `oof`, `labels` or `test`: one row for each image id (the index), float columns.

        A missing label is NaN.
        """
        return read_probabilities(self.file(name), missing=name == "labels")

    def file(self, name: str) -> Path:
        """Return the path of the CSV with this name. Raise FileNotFoundError, with a hint, if it is missing."""
        path = self / f"{name}.csv"
        if not path.is_file():
            predict = f"run: kcomp predict {self.folder} (with --test, unless the recipe has test rows)"
            hint = predict if name == "test" else "train it to its end"
            raise FileNotFoundError(f"{self.folder} has no {name}.csv; {hint}")
        return path


def read_checked(path: Path, needed: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object in this file. Raise DamagedError if it is not valid or lacks one of the needed names."""
    hint = "remove it, and train the run to its end again" if path.name == "result.json" else "remove its folder"
    try:
        content = read_json(path)
    except DamagedError as error:
        raise DamagedError(f"{error}; {hint}") from error
    missing = [name for name in needed if name not in content]
    if missing:
        raise DamagedError(f"{path} is damaged: it lacks {', '.join(missing)}; {hint}")
    return content


def made_by(manifest: Mapping[str, Any]) -> str:
    """Return a name for the backends that trained a run: `jax`, or `jax-torch` if PyTorch continued a run of JAX.

    If the run started from weights other than the recipe's, the name ends with `-from-` and 8 digits of the weights'
    hash. A soup, which averages runs, has the name `soup-<8 digits>`.
    """
    if manifest.get("soup"):
        return f"soup-{manifest['soup']['key']}"
    backends = [part["backend"] for part in manifest.get("history", [manifest])]
    names = [name for name, before in zip(backends, [None, *backends], strict=False) if name != before]
    origin = manifest.get("from")
    return "-".join([*names, *(["from", origin["sha256"][:8]] if origin else [])])


def member_of(manifest: Mapping[str, Any]) -> str:
    """Return a text that is equal for all runs of an ensemble member, whatever their folds.

    It is the result of `made_by`, except for a run that started from the weights of an earlier run. The hash of such
    weights differs between folds. The digits are therefore those of the earlier run's fingerprint.
    """
    origin, name = manifest.get("from"), made_by({**manifest, "from": None})
    return f"{name}-from-{(origin.get('fingerprint') or origin['sha256'])[:8]}" if origin else name


def default_folder(
    loaded: Loaded, backend: str, *, seed: int, fold: int, root: Path, origin: Mapping[str, Any] | None = None
) -> Path:
    """Return `<root>/<recipe>/<fingerprint>/<backend>-seed<S>-fold<K>`. `origin` is the manifest's entry `from`."""
    name = made_by({"backend": backend, "from": origin})
    return root / loaded.name / loaded.fingerprint() / f"{name}-seed{seed}-fold{fold}"


def find(path: Path) -> list[Run]:
    """Return all runs at `path` or in its subfolders, sorted by folder. A run is a folder with a manifest."""
    if (path / "manifest.json").is_file():
        return [Run(path)]
    return [Run(manifest.parent) for manifest in sorted(path.rglob("manifest.json"))]


def check_same(run: Run, manifest: Mapping[str, Any], *, across: bool = False) -> None:
    """Raise ValueError if the folder contains a different experiment than `manifest` describes.

    across: Whether an unfinished run of another backend counts as the same experiment, so that it can be continued.
    """
    before = run.manifest if (run / "manifest.json").is_file() else manifest
    if before.get("soup"):
        raise ValueError(f"{run.folder} holds a soup, which is not trained; choose another folder with -o")
    for name in ("fingerprint", "seed", "fold", "table", "pseudo"):
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
    """Raise ValueError if the folder contains a different run than `manifest` describes.

    Also raise it if several backends trained the run, or if it did not start from the recipe's own weights.

    manifest: A manifest that has at least the entries that `check_same` compares.
    """
    check_same(run, manifest)
    backends = made_by(run.manifest) if (run / "manifest.json").is_file() else manifest["backend"]
    if backends != manifest["backend"]:
        raise ValueError(describe_other_run(run, "backend", backends, manifest["backend"]))


def weights_hash(manifest: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of the weights a run started from, or None for the recipe's own weights."""
    return (manifest.get("from") or {}).get("sha256")


def describe_other_run(run: Run, name: str, existing: Any, requested: Any) -> str:
    return (
        f"{run.folder} holds a run with {name} {existing!r}; this one has {requested!r}. "
        "Choose another folder with -o, or remove that one"
    )


def start(run: Run, loaded: Loaded, manifest: Mapping[str, Any], epochs: int) -> None:
    """Write the recipe, its values and the manifest of a new run.

    If the run exists, update its manifest: this process, which `manifest` describes, continues after `epochs` epochs.
    """
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
    """Return the manifest of a run that is continued after `epochs` epochs.

    before: The manifest in the run folder.
    now: The manifest of the process that continues the run. Backend, device and versions come from it.

    If these values change during the run, the entry `history` lists them, each with its first epoch, counted from 1.
    Processes that finished no epoch are left out.
    """
    trained = [part for part in before.get("history", [{"epoch": 1, **before}]) if part["epoch"] <= epochs]
    parts: list[dict[str, Any]] = []
    for part in (*trained, {"epoch": epochs + 1, **now}):
        entry = {name: part[name] for name in PARTS}
        if not parts or any(parts[-1][name] != entry[name] for name in PARTS):
            parts.append({"epoch": part["epoch"], **entry})
    unchanged = {name: value for name, value in before.items() if name != "history"}
    return unchanged | {name: now[name] for name in PARTS} | ({"history": parts} if len(parts) > 1 else {})
