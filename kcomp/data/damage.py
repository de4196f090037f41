"""Find damaged image files before they are used."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import PIL

from kcomp.system.cache import cache_folder
from kcomp.system.notices import notice

PROGRAM = Path(__file__).with_name("check_process.py")
MANY = 2000  # files whose check takes long enough to be announced
FILES = 64  # fewest files for each process
LARGEST = 256 << 20  # bytes of stored results


@dataclass(frozen=True)
class FileCheck:
    """The result of the check of an image file.

    Attributes:
        problem: Why the file cannot be used. None for a good file.
        kind: The type of the pixels, such as "uint16", if they have more than eight bits; otherwise empty.
        low: The lowest value of such pixels.
        high: The highest value of such pixels.
    """

    problem: str | None = None
    kind: str = ""
    low: float = 0.0
    high: float = 0.0


def check_files(paths: Sequence[str]) -> list[FileCheck]:
    """Read all data of image files, and return the result of the check of each.

    Results are cached by path, size and time of change, so each file is read once.
    """
    stored = StoredChecks(cache_folder() / "checks.txt")
    keys = [check_key(path) for path in paths]
    unknown = {path: key for path, key in zip(paths, keys, strict=True) if key not in stored.results}
    if unknown:
        if len(unknown) > MANY:
            notice(f"checking {len(unknown)} image files for damage; the result is cached")
        stored.add(dict(zip(unknown.values(), run_checks(list(unknown)), strict=True)))
    return [stored.results[key] for key in keys]


def check_key(path: str) -> str:
    """Return the cache key of a file. It changes with the size, the time of change and the path of the file."""
    try:
        status = os.stat(path)  # noqa: PTH116  # faster than Path
        content = f"{status.st_size} {status.st_mtime_ns} {os.path.abspath(path)}"  # noqa: PTH100
    except OSError:
        content = f"missing {path}"
    return hashlib.blake2b(f"{SETTINGS} {content}".encode(errors="surrogateescape"), digest_size=16).hexdigest()


SETTINGS = f"1 {cv2.__version__} {PIL.__version__}"


class StoredChecks:
    """Results of checks by the cache key of a file, stored in one file to which all processes append."""

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
                continue  # a line that a full disk cut off

    def add(self, results: dict[str, FileCheck]) -> None:
        """Store results and append them to the file. A full or read-only disk is ignored."""
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
    """Check files in as many processes as there are cores."""
    count = max(1, min(os.cpu_count() or 1, 16, len(paths) // FILES))
    parts = [list(paths[number::count]) for number in range(count)]
    with ThreadPoolExecutor(count) as pool:
        checked = list(pool.map(run_process, parts))
    results: dict[str, FileCheck] = {}
    for part, checks in zip(parts, checked, strict=True):
        results |= zip(part, checks, strict=True)
    return [results[path] for path in paths]


def run_process(paths: list[str]) -> list[FileCheck]:
    """Check files in a child process. A file that crashes the process is reported as damaged."""
    results: list[FileCheck] = []
    while len(results) < len(paths):
        content = b"\0".join(os.fsencode(path) for path in paths[len(results) :])
        command = [sys.executable, "-P", str(PROGRAM)]
        done = subprocess.run(command, input=content, stdout=subprocess.PIPE, check=False)
        lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
        results += [FileCheck(**line) for line in lines]
        if len(results) < len(paths):
            if not lines and done.returncode > 0:
                raise RuntimeError(f"the check of image files ended with exit code {done.returncode}")
            results.append(FileCheck("decoding it ends the process"))
    return results
