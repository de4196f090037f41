"""Write files atomically, so that a reader never sees an incomplete file."""

import contextlib
import functools
import json
import math
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pandas as pd


@contextlib.contextmanager
def replacing(path: Path, *, synced: bool = True) -> Iterator[IO[bytes]]:
    """Yield a temporary file, open for writing and reading. At the end of the `with` block, move this file to `path`.

    If an error ends the block, the file is removed, and `path` does not change.
    `synced` says whether to wait until the content is on the disk. Otherwise, a power failure may leave an empty file.
    """
    with errors_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                if sys.platform != "win32":
                    os.fchmod(descriptor, 0o666 & ~current_umask())
                yield file
                if synced:
                    file.flush()
                    os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Add the path to errors of the system that name no file, such as "No space left on device"."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


_umask_lock = threading.Lock()


def current_umask() -> int:
    """Return the umask of the process (the permission bits that new files do not get)."""
    with _umask_lock:  # reading sets the umask to 0 for a moment, for all threads
        return _read_umask()


@functools.cache
def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def moved_into(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. When the `with` block ends without an error, move its file to `path`."""
    with errors_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            yield Path(folder) / path.name
            sync(Path(folder) / path.name)
            (Path(folder) / path.name).replace(path)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes left in `folder` and its direct subfolders."""
    for leftover in (*folder.glob(".*.*"), *folder.glob("*/.*.*")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("r+b") as file:  # Windows syncs only files that are open for writing
        os.fsync(file.fileno())


def write_atomically(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write several files of a folder, which is created. If one of them cannot be written, none changes.

    `contents` has the bytes of each file by its name.

    Raises:
        OSError: If the folder cannot be written to, for example because the disk is full.
    """
    try:
        with contextlib.ExitStack() as replacements:  # it moves the last file of the block first
            for name, content in reversed(list(contents.items())):
                file = replacements.enter_context(replacing(folder / name))
                file.write(content)
                file.flush()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{folder} cannot be written to: {reason}; choose another folder with -o") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically. NaN and infinity become null."""
    write_atomically(path, json_bytes(content))


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file. NaN and infinity become null."""
    return (json.dumps(without_nan(content), indent=2, allow_nan=False) + "\n").encode()


def without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: without_nan(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


class DamagedError(ValueError):
    """Raised if a file has other content than kcomp writes, for example because it is damaged."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, as a dict.

    Raises:
        FileNotFoundError: If the file is missing.
        DamagedError: If the content is not a JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.parent} has no {path.name}; is it a run folder?") from None
    except (ValueError, RecursionError) as error:  # not JSON, not text, or of too many levels
        raise DamagedError(f"{path} is damaged, it is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path} is damaged, it is not a JSON object but a {type(content).__name__}")
    return content


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    write_atomically(path, csv_bytes(frame))


def csv_bytes(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()
