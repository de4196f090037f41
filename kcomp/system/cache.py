"""The folder in which kcomp caches converted weights, compiled programs, decoded images and features."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

# Names of files and folders in the cache folder, by what they contain.
KINDS = {
    "decoded": "decoded and resized images",
    "features": "outputs of frozen layers",
    "weights": "converted ImageNet weights and checkpoints",
    "jax": "machine code of JAX's programs",
    "programs": "JAX's programs, exported",
    "numba": "machine code of loops",
    "facts.sqlite": "measurements of images",
    "checks.txt": "results of damage checks",
    "cheap-checks": "problems of tables",
}


def cache_folder() -> Path:
    """Return the folder for cached files: $KCOMP_CACHE, or kcomp's folder in the user's cache folder."""
    return Path(os.environ.get("KCOMP_CACHE") or platformdirs.user_cache_dir("kcomp"))


@dataclass(frozen=True)
class CacheUse:
    """The files of one kind in the cache folder.

    Attributes:
        kind: A key of `KINDS`.
        files: How many files there are.
        size: Their size in bytes.
        changed: When the newest file was written, in seconds since 1970. 0 without files.
    """

    kind: str
    files: int
    size: int
    changed: float


def cache_use() -> list[CacheUse]:
    """Return how many files of each kind the cache folder contains, and how large they are."""
    uses = []
    for kind in KINDS:
        states = [state for path in files_below(cache_folder() / kind) if (state := stat_of(path)) is not None]
        newest = max((state.st_mtime for state in states), default=0.0)
        uses.append(CacheUse(kind, len(states), sum(state.st_size for state in states), newest))
    return uses


def files_below(path: Path) -> Iterator[str]:
    """Yield `path` if it is a file, or the paths of all files in this folder and its subfolders."""
    if path.is_file():
        yield str(path)
    for folder, _, names in os.walk(path):
        yield from (f"{folder}/{name}" for name in names)


def stat_of(path: str) -> os.stat_result | None:
    """Return the size and times of a file. None if another process removed it."""
    with contextlib.suppress(OSError):
        return os.stat(path)  # noqa: PTH116  # faster than Path
    return None


def empty_cache(kind: str) -> None:
    """Remove the cached files of one kind. Other processes never see a part of them.

    Raises:
        OSError: If a file cannot be removed.
    """
    path = cache_folder() / kind
    if not path.exists():
        return
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".removed-") as removed:
        shutil.move(path, removed)
