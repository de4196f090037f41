"""Train a job on another machine: in the shared run folder, or in a local folder whose content is sent back."""

import io
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kcomp.runs.folder import Run
from kcomp.runs.locking import locked
from kcomp.sweep.jobs import TrainingJob
from kcomp.sweep.process import Process
from kcomp.system.errors import BUSY
from kcomp.system.files import write_atomically
from kcomp.system.processes import KCOMP, child_environment
from kcomp.system.python_files import read_source

PAUSE = 0.5  # seconds between two checks
SKIPPED = ("lock",)  # not sent, because a lock is valid on one machine only


@dataclass(frozen=True)
class Order:
    """The data that another machine needs to train a job.

    job:     the job, with absolute paths.
    sources: the recipe's files by name, in case the machine does not have them.
    token:   a file that exists only on machines that share the run folders.
    cwd:     the folder that relative paths in the recipe refer to.
    begun:   the unfinished run as a ZIP file (see `pack`), in case the machine does not have it.
    """

    job: TrainingJob
    sources: Mapping[str, str]
    token: str
    cwd: str
    threads: int
    begun: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """The exit code of a job. Without shared storage, also its run as a ZIP file and its output."""

    code: int
    packed: bytes | None = None
    log: str = ""


def train(order: Order, report: Callable[[str], None]) -> Answer:
    """Train a job to its end. Call `report` with each line of its output."""
    if Path(order.token).is_file():
        return Answer(run(order, order.job, report))
    folder = scratch() / order.job.recipe.rpartition("/")[2] / order.job.fingerprint / order.job.run.folder.name
    local_job = TrainingJob(**{**order.job.as_json(), "folder": str(folder)})
    if order.begun is not None and not folder.exists():
        unpack(order.begun, local_job.run)
    before = local_job.log.stat().st_size if local_job.log.is_file() else 0
    code = run(order, local_job, report)
    answer = Answer(code, pack(local_job.run), local_job.log.read_bytes()[before:].decode(errors="replace"))
    shutil.rmtree(folder, ignore_errors=True)
    local_job.log.unlink(missing_ok=True)
    return answer


def scratch() -> Path:
    """Return this user's folder for runs. It is always the same, so that the run of a lost worker can be continued."""
    return Path(tempfile.gettempdir()) / f"kcomp-sweep-{os.getuid()}"


def run(order: Order, job: TrainingJob, report: Callable[[str], None]) -> int:
    """Train a job and return its exit code. If another process trains the run, wait for that process."""
    environ = child_environment(job.backend, threads=order.threads)
    with tempfile.TemporaryDirectory(prefix="kcomp-sweep-") as folder:
        command = [*KCOMP, *job.arguments(recipe=recipe_at(order, Path(folder)))]
        cwd = Path(order.cwd) if Path(order.cwd).is_dir() else Path(folder)
        while not job.run.complete:
            if job.run.busy:  # a lost worker's process has not ended yet
                time.sleep(PAUSE)
                continue
            code = follow(Process(command, environ, job.log, cwd), report)
            if code != BUSY:
                return code
    return 0


def follow(process: Process, report: Callable[[str], None]) -> int:
    """Call `report` with each line of output until the process ends, and return its exit code."""
    while True:
        code, lines = process.look()
        for line in lines:
            report(line)
        if code is not None:
            return code
        time.sleep(PAUSE)


def recipe_at(order: Order, folder: Path) -> str:
    """Return the recipe's path if this machine has the same files there, else the path of a copy in `folder`."""
    place = Path(order.job.recipe)
    beside = {name: place.parent / name for name in order.sources}
    if all(path.is_file() and read_source(path) == order.sources[name] for name, path in beside.items()):
        return str(place)
    for name, text in order.sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder / place.name)


def pack(run: Run) -> bytes | None:
    """Return a run folder as a ZIP file. None if there is no run."""
    if not (run / "manifest.json").is_file():
        return None
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path in sorted(run.folder.rglob("*")):
            if path.is_file() and path.name not in SKIPPED:
                file.write(path, path.relative_to(run.folder))
    return content.getvalue()


def unpack(packed: bytes, run: Run) -> None:
    """Write a run from a ZIP file, `result.json` last. Raise RuntimeError if another process trains that run."""
    with locked(run), zipfile.ZipFile(io.BytesIO(packed)) as file:
        for name in sorted(file.namelist(), key=lambda name: (name == "result.json", name)):
            write_atomically(run / name, file.read(name))
