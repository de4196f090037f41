"""Follow the progress of a sweep's jobs by reading the lines that `kcomp train` prints."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from kcomp.sweep.jobs import TrainingJob
from kcomp.system.errors import BUSY
from kcomp.system.files import DamagedError
from kcomp.system.processes import describe_exit

WAITING, RUNNING, ELSEWHERE, COMPLETE, FAILED = "waiting", "running", "elsewhere", "complete", "failed"
EPOCH = re.compile(r"epoch +(\d+)/(\d+) ")


@dataclass
class SweepProgress:
    """The progress of one job (training) of a sweep.

    Attributes:
        job: The job.
        state: "waiting", "running", "complete" or "failed". "elsewhere" if a process outside of this sweep trains the
            run.
        epoch: How many epochs are finished.
        epochs: How many epochs the run has. 0 while this is unknown.
        score: The score of the latest epoch. For a complete run, the score of the run.
        place: The machine that trains the job. Empty for this machine.
        last: The last line that the job printed, or the error message.
        began: When the current process finished its first epoch, from `time.monotonic`.
        latest: When the current process finished its latest epoch.
        first: Number of the first epoch that the current process finished, counted from 1. 0 if it has finished none.
        starts: How many processes have been started for the job.
    """

    job: TrainingJob
    state: str = WAITING
    epoch: int = 0
    epochs: int = 0
    score: float | None = None
    place: str = ""
    last: str = ""
    began: float = 0.0
    latest: float = 0.0
    first: int = 0
    starts: int = 0

    def __post_init__(self) -> None:
        try:
            if self.job.run.complete:
                self.finish(0)
            elif row := self.job.last_log_row():
                self.epoch, self.score = int(row["epoch"]), float(row[self.job.metric])
        except DamagedError as error:
            self.state, self.last = FAILED, str(error)

    def start(self, place: str = "") -> None:
        self.state, self.place, self.starts = RUNNING, place, self.starts + 1
        self.first, self.last = 0, ""

    def line(self, text: str) -> None:
        """Update the progress from a line that the job printed."""
        if text.strip():
            self.last = text.strip()
        epochs = parse_epoch(text)
        if epochs is None:
            return
        self.epoch, self.epochs = epochs
        self.latest = time.monotonic()
        if not self.first:
            self.first, self.began = self.epoch, self.latest
        score = re.search(rf" {self.job.metric} (-?[\d.]+|nan)", text)
        self.score = float(score[1]) if score else self.score

    def finish(self, code: int) -> None:
        """Update the progress after the job's process has ended with the exit code `code`. Read the score from the run
        folder.
        """
        if code == BUSY:  # another process began to train the run just before this job's process started
            self.state = ELSEWHERE
            return
        if not self.job.run.complete:
            self.state = FAILED
            self.last = describe_exit(code, self.last) if code else "the run was not finished"
            return
        result = self.job.run.result
        self.state, self.score = COMPLETE, result["scores"].get(self.job.metric)
        self.epoch = self.epochs = result.get("epochs") or self.epoch

    @property
    def seconds_left(self) -> float | None:
        """An estimate of how many seconds the job still takes. None until its process has finished two epochs."""
        if self.state != RUNNING or self.epoch <= self.first or not self.first:
            return None
        pace = (self.latest - self.began) / (self.epoch - self.first)
        return max(0.0, (self.epochs - self.epoch) * pace - (time.monotonic() - self.latest))


def parse_epoch(text: str) -> tuple[int, int] | None:
    """Return the epoch and the number of epochs from a line that `kcomp train` prints after each epoch.

    Return None for any other line.
    """
    match = EPOCH.match(text)
    return (int(match[1]), int(match[2])) if match else None


def count(all_jobs: Sequence[SweepProgress], state: str) -> int:
    return sum(job.state == state for job in all_jobs)


def failed(all_jobs: Sequence[SweepProgress]) -> list[SweepProgress]:
    return [job for job in all_jobs if job.state == FAILED]
