"""Write weights into a run folder, and check that the files there are those that the state of the run names."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kcomp.runs.folder import Run
from kcomp.system.files import DamagedError, moved_into
from kcomp.training.state_file import sha256

if TYPE_CHECKING:
    import keras

WEIGHTS = "best.weights.h5"
BEST = "state/best-{}.weights.h5"  # the best weights, by the number of their epoch


def save_weights(run: Run, network: "keras.Model", name: str = WEIGHTS) -> None:
    """Write a network's weights to the file `name` in the run folder. kcomp predicts with best.weights.h5."""
    with moved_into(run / name) as path:
        network.save_weights(path)


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return sha256(file)


def is_best(name: str) -> bool:
    """Return whether `name` is the path in a run folder of the best weights of an epoch."""
    start, end = BEST.split("{}")
    return name.startswith(start) and name.endswith(end)


def check_files(run: Run, hashes: Mapping[str, str]) -> None:
    """Raise DamagedError unless each file has its SHA-256. `hashes` has one by each path in the run folder."""
    for name, digits in hashes.items():
        try:
            is_same = file_hash(run / name) == digits
        except FileNotFoundError:
            raise DamagedError(f"{run / name} is missing") from None
        except OSError as error:
            raise DamagedError(f"{run / name} is damaged: {error}") from error
        if not is_same:
            raise DamagedError(f"{run / name} is damaged: its content does not fit its checksum")


def publish_best(run: Run, names: Iterable[str]) -> None:
    """Make best.weights.h5 the file of the best epoch, if `names`, paths in the run folder, have such a file.

    The two names are one file on disk, if the file system has hard links.
    """
    target = run / WEIGHTS
    for source in [run / name for name in names if is_best(name)]:
        if target.is_file() and target.samefile(source):
            continue
        with moved_into(target) as path:
            try:
                os.link(source, path)
            except OSError:
                shutil.copyfile(source, path)


def remove_old_best(run: Run, needed: Iterable[str]) -> None:
    """Remove the files of best epochs in the folder of the states, except those in `needed`."""
    paths = {run / name for name in needed}
    for path in run.folder.glob(BEST.format("*")):
        if path not in paths:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
