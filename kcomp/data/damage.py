"""Find damaged image files before images are used."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import PIL

from kcomp.image_files.limits import largest_pixels
from kcomp.system.cache import cache_folder
from kcomp.system.file_version import file_version
from kcomp.system.notices import notice

PROGRAM = Path(__file__).parents[1] / "image_files" / "check_process.py"
MANY = 2000  # if more files must be checked, a notice says so in advance
FILES = 64  # how many files each child process gets at least, if there are several
LARGEST = 256 << 20  # bytes; a larger file of stored results is overwritten


@dataclass(frozen=True)
class FileCheck:
    """The result of checking one image file for damage.

    Attributes:
        problem: Why the file cannot be used. None for a good file.
        kind: The type of the pixels, such as "uint16", if the image has more than eight bits a channel; otherwise
            empty.
        low: The lowest pixel value if `kind` is not empty; otherwise 0.
        high: The highest pixel value if `kind` is not empty; otherwise 0.
        was_read: Whether the file could be read. If not, the result is not cached.
    """

    problem: str | None = None
    kind: str = ""
    low: float = 0.0
    high: float = 0.0
    was_read: bool = True


def check_files(paths: Sequence[str]) -> list[FileCheck]:
    """Check image files for damage by reading all data of each file. Return a cached `FileCheck` for each path."""
    stored = StoredChecks(cache_folder() / "checks.txt")
    keys: dict[str, str] = {}
    results: dict[str, FileCheck] = {}
    for path in paths:
        try:
            keys[path] = check_key(path)
        except (OSError, ValueError) as error:
            results[path] = FileCheck(getattr(error, "strerror", None) or str(error), was_read=False)
    unknown = [path for path, key in keys.items() if key not in stored.results]
    if unknown:
        if len(unknown) > MANY:
            notice(f"checking {len(unknown)} image files for damage; the result is cached")
        results |= zip(unknown, run_checks(unknown), strict=True)
        stored.add({keys[path]: results[path] for path in unknown if results[path].was_read})
    return [results[path] if path in results else stored.results[keys[path]] for path in paths]


def check_key(path: str) -> str:
    """Return the key under which the result of checking a file is cached.

    Raises:
        OSError: If there is no such file.
        ValueError: If the path is not valid, because it contains a zero byte.
    """
    content = f"{SETTINGS} {largest_pixels()} {file_version(path)}".encode(errors="surrogateescape")
    return hashlib.blake2b(content, digest_size=16).hexdigest()


SETTINGS = f"2 {cv2.__version__} {PIL.__version__}"


class StoredChecks:
    """The cached results of checking image files: a `FileCheck` for each key (see `check_key`).

    One file on disk has the results of all processes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, FileCheck] = {}
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            return
        good = FileCheck()
        for line in lines:
            key, _, text = line.partition(" ")
            try:
                self.results[key] = FileCheck(**json.loads(text)) if text else good
            except (ValueError, TypeError):
                continue  # an incomplete line, written to a full disk

    def add(self, results: dict[str, FileCheck]) -> None:
        """Add results in memory, and append them to the file on disk. Errors of the disk are ignored."""
        self.results |= results
        lines = [f"{key} {as_text(result)}".rstrip() for key, result in results.items()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            start_anew = self.path.exists() and self.path.stat().st_size > LARGEST
            with self.path.open("w" if start_anew else "a") as file:
                file.write("\n" + "\n".join(lines) + "\n")
        except OSError:
            return


def as_text(result: FileCheck) -> str:
    if result == FileCheck():
        return ""
    if not result.kind:
        return json.dumps({"problem": result.problem})
    return json.dumps({"problem": result.problem, "kind": result.kind, "low": result.low, "high": result.high})


def run_checks(paths: Sequence[str]) -> list[FileCheck]:
    """Check image files in parallel child processes. Return a `FileCheck` for each path."""
    count = max(1, min(os.cpu_count() or 1, 16, len(paths) // FILES))
    parts = [list(paths[number::count]) for number in range(count)]
    with ThreadPoolExecutor(count) as pool, Children() as children:
        checked = list(pool.map(lambda part: run_process(part, children), parts))
    results: dict[str, FileCheck] = {}
    for part, checks in zip(parts, checked, strict=True):
        results |= zip(part, checks, strict=True)
    return [results[path] for path in paths]


class Children:
    """The child processes of several threads, for a `with` block. They are killed if the block raises an error."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, place: object) -> None:
        if kind is not None:
            with self._lock:
                self._is_stopped = True
                for process in self._running:
                    process.kill()

    def run(self, command: list[str], content: bytes) -> tuple[bytes, int]:
        """Run a command with an input. Return its output and its exit code.

        Raises:
            InterruptedError: If the block has raised an error.
        """
        with self._lock:
            if self._is_stopped:
                raise InterruptedError
            process = subprocess.Popen(  # in another session, so that ctrl-C reaches only this process
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            self._running.add(process)
        output, _ = process.communicate(content)
        with self._lock:
            self._running.discard(process)
            if self._is_stopped:
                raise InterruptedError
        return output, process.returncode


def run_process(paths: list[str], children: Children) -> list[FileCheck]:
    """Check image files in a child process. Return a `FileCheck` for each path.

    A file that crashes the process counts as damaged.
    """
    results: list[FileCheck] = []
    while len(results) < len(paths):
        content = b"\0".join(os.fsencode(path) for path in paths[len(results) :])
        command = [sys.executable, "-P", str(PROGRAM)]
        output, code = children.run(command, content)
        lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
        results += [FileCheck(**line) for line in lines]
        if len(results) < len(paths):
            if not lines and code > 0:
                raise RuntimeError(f"the check of image files ended with exit code {code}")
            results.append(FileCheck("decoding it ends the process"))
    return results
