"""Train a job of a sweep on another machine of a Ray cluster.

Without access to the run's folder, the machine trains in a local folder and sends the content back.
"""

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
from kcomp.runs.stored import is_inner_path
from kcomp.sweep.jobs import TrainingJob
from kcomp.sweep.process import Process
from kcomp.system.errors import BUSY
from kcomp.system.files import write_atomically
from kcomp.system.processes import KCOMP, child_environment
from kcomp.system.python_files import read_source

PAUSE = 0.5  # seconds between two checks of a process
SKIPPED = ("lock",)  # files that are not sent; a lock is valid on one machine only


@dataclass(frozen=True)
class Order:
    """The data that another machine needs to train a job.

    Attributes:
        job: The job, with absolute paths.
        sources: The source texts of the recipe and of the files that it imports, by file name.
        token: Path of a file beside the runs. A machine that has this file can access the run folders.
        cwd: The working directory of the training, for relative paths in the recipe.
        threads: How many threads the training uses.
        begun: The unfinished run as a ZIP file, for a machine without access to its folder. None if the run has not
            begun.
    """

    job: TrainingJob
    sources: Mapping[str, str]
    token: str
    cwd: str
    threads: int
    begun: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """The outcome of a job.

    Attributes:
        code: The exit code of the training. 0 if the run is complete.
        packed: The run's folder as a ZIP file. None if the machine trained in the shared folder.
        log: The printed output. Empty if the machine trained in the shared folder.
    """

    code: int
    packed: bytes | None = None
    log: str = ""


def train(order: Order, report: Callable[[str], None]) -> Answer:
    """Train a job on this machine until it ends, and return the outcome.

    Args:
        order: The job and the data that it needs.
        report: Function that is called with each line that the training prints.
    """
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
    """Return this user's local folder for runs, the same in each process."""
    return Path(tempfile.gettempdir()) / f"kcomp-sweep-{os.getuid()}"


def run(order: Order, job: TrainingJob, report: Callable[[str], None]) -> int:
    """Train a job in its folder, and return the exit code. If another process trains the run, wait for it."""
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
    """Call `report` with each line that a process prints, until it ends. Return its exit code."""
    while True:
        code, lines = process.look()
        for line in lines:
            report(line)
        if code is not None:
            return code
        time.sleep(PAUSE)


def recipe_at(order: Order, folder: Path) -> str:
    """Return the path of the recipe on this machine. Write its sources to `folder` if they are missing or differ."""
    place = Path(order.job.recipe)
    beside = {name: place.parent / name for name in order.sources}
    if all(path.is_file() and read_source(path) == order.sources[name] for name, path in beside.items()):
        return str(place)
    for name, text in order.sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    return str(folder / place.name)


def pack(run: Run) -> bytes | None:
    """Return the folder of a run as a ZIP file. Return None if the folder contains no run."""
    if not (run / "manifest.json").is_file():
        return None
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for path in sorted(run.folder.rglob("*")):
            if path.is_file() and path.name not in SKIPPED:
                file.write(path, path.relative_to(run.folder))
    return content.getvalue()


def unpack(packed: bytes, run: Run) -> None:
    """Write the files of a ZIP file from `pack` to the folder of `run`.

    Raises:
        RuntimeError: If another process is training the run.
        ValueError: If a name leads out of the folder.
    """
    with zipfile.ZipFile(io.BytesIO(packed)) as file, locked(run):
        outer = [name for name in file.namelist() if not is_inner_path(name)]
        if outer:
            raise ValueError(f"the files of a run must stay in its folder; received {outer[0]!r}")
        # result.json comes last, because it marks the run as complete
        for name in sorted(file.namelist(), key=lambda name: (name == "result.json", name)):
            write_atomically(run / name, file.read(name))
