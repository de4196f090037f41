"""A job on another machine: trained in its run folder where that is shared, else in a folder there, and sent back."""

import io
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kcomp.recipe import read_source
from kcomp.runs.folder import Run, locked
from kcomp.sweep.jobs import Job
from kcomp.sweep.process import Process
from kcomp.system.errors import BUSY
from kcomp.system.files import write_atomically
from kcomp.system.processes import KCOMP, child_environment

PAUSE = 0.5  # seconds between two looks
SKIPPED = ("lock",)  # of a run folder's files: it belongs to a machine


@dataclass(frozen=True)
class Order:
    """What a machine is told.

    job:     with absolute paths.
    sources: the recipe's files by name, for where they are not.
    token:   a file that exists where the runs' folders are shared.
    cwd:     the folder that the recipe's relative paths start from.
    begun:   the unfinished run as `pack` makes it, for where it is not.
    """

    job: Job
    sources: Mapping[str, str]
    token: str
    cwd: str
    threads: int
    begun: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """The exit code; where the storage is not shared, also the run and what its process printed."""

    code: int
    packed: bytes | None = None
    log: str = ""


def train(order: Order, tell: Callable[[str], None]) -> Answer:
    """Train a job, whatever of it is left; `tell` gets each line that it prints."""
    if Path(order.token).is_file():
        return Answer(run(order, order.job, tell))
    folder = scratch() / order.job.recipe.rpartition("/")[2] / order.job.fingerprint / order.job.run.folder.name
    here = Job(**{**order.job.as_json(), "folder": str(folder)})
    if order.begun is not None and not folder.exists():
        unpack(order.begun, here.run)
    before = here.log.stat().st_size if here.log.is_file() else 0
    code = run(order, here, tell)
    answer = Answer(code, pack(here.run), here.log.read_bytes()[before:].decode(errors="replace"))
    shutil.rmtree(folder, ignore_errors=True)
    here.log.unlink(missing_ok=True)
    return answer


def scratch() -> Path:
    """This user's folder for runs on a machine, the same each time: what a dead worker began is found again."""
    return Path(tempfile.gettempdir()) / f"kcomp-sweep-{os.getuid()}"


def run(order: Order, job: Job, tell: Callable[[str], None]) -> int:
    """The exit code of the training; while another process trains the run, wait for that."""
    environ = child_environment(job.backend, threads=order.threads)
    with tempfile.TemporaryDirectory(prefix="kcomp-sweep-") as folder:
        command = [*KCOMP, *job.arguments(recipe=recipe_at(order, Path(folder)))]
        cwd = Path(order.cwd) if Path(order.cwd).is_dir() else Path(folder)
        while not job.run.complete:
            if job.run.busy:  # what a lost worker left has not ended yet
                time.sleep(PAUSE)
                continue
            code = follow(Process(command, environ, job.log, cwd), tell)
            if code != BUSY:
                return code
    return 0


def follow(process: Process, tell: Callable[[str], None]) -> int:
    """The exit code, once it has ended."""
    while True:
        code, lines = process.look()
        for line in lines:
            tell(line)
        if code is not None:
            return code
        time.sleep(PAUSE)


def recipe_at(order: Order, folder: Path) -> str:
    """The recipe where it lies, if it is the same there, else a copy of it in `folder`."""
    place = Path(order.job.recipe)
    beside = {name: place.parent / name for name in order.sources}
    if all(path.is_file() and read_source(path) == order.sources[name] for name, path in beside.items()):
        return str(place)
    for name, text in order.sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder / place.name)


def pack(run: Run) -> bytes | None:
    """A run folder as one file, None where there is none."""
    if not (run / "manifest.json").is_file():
        return None
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path in sorted(run.folder.rglob("*")):
            if path.is_file() and path.name not in SKIPPED:
                file.write(path, path.relative_to(run.folder))
    return content.getvalue()


def unpack(packed: bytes, run: Run) -> None:
    """Write what `pack` read, `result.json` last. RuntimeError where another process trains that run."""
    with locked(run), zipfile.ZipFile(io.BytesIO(packed)) as file:
        for name in sorted(file.namelist(), key=lambda name: (name == "result.json", name)):
            write_atomically(run / name, file.read(name))
