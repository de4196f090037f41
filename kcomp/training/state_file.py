"""Write the state of a training as two files with checksums: the last state, and the one before it."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from kcomp.runs.folder import BEFORE, STATE, Run
from kcomp.system.files import DamagedError, replacing

DIGITS = 64  # hexadecimal digits of a SHA-256, at the end of each state file


def write_state(run: Run, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the last state of a run. The state that was the last becomes the one before it.

    The file is an .npz file with a SHA-256 of its content behind it. At each moment, one of the two files is complete.
    """
    with replacing(run / STATE) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.write(sha256(file).encode())
        file.flush()
        os.fsync(file.fileno())  # before the last state is moved away
        if (run / STATE).is_file():
            (run / STATE).replace(run / BEFORE)


def check_state(path: Path) -> dict[str, Any]:
    """Return the JSON object `progress` of a state file. Raise DamagedError if the checksum or the content is wrong."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digits = sha256(file, max(size - DIGITS, 0))
            if file.read() != digits.encode():
                raise DamagedError(f"{path} is damaged: its content does not fit its checksum")
        progress = json.loads(str(read_arrays(path, "progress")["progress"]))
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        raise error if isinstance(error, DamagedError) else DamagedError(f"{path} is damaged: {error}") from error
    if not isinstance(progress, dict):
        raise DamagedError(f"{path} is damaged: it has no progress")
    return progress


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Return the arrays of a state file by name: all, or those of `names`. Raise DamagedError if it cannot be read."""
    try:
        with np.load(path) as file:
            return {name: file[name] for name in (names or file.files)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error


def sha256(file: IO[bytes], size: int | None = None) -> str:
    """Return the SHA-256 of the first `size` bytes of a file in hexadecimal digits, and go to the byte behind them.

    `size` None means the whole file.
    """
    file.flush()
    file.seek(0)
    digest = hashlib.sha256()
    left = size
    while block := file.read(1 << 20 if left is None else min(1 << 20, left)):
        digest.update(block)
        left = None if left is None else left - len(block)
    return digest.hexdigest()
