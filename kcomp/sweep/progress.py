"""Follow the progress of the jobs of a sweep. The lines that `kcomp train` prints show it."""

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
    """The state of one job.

    epoch:   number of finished epochs.
    epochs:  number of all epochs; 0 while unknown.
    score:   score of the last epoch, or of the complete run.
    last:    last line of output, or the error.
    began:   time at which the first epoch of this process ended. Its number is `first`.
    latest:  time at which the latest epoch of this process ended.
    starts:  number of processes that were started for the job.
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
            elif row := self.job.logged():
                self.epoch, self.score = int(row["epoch"]), float(row[self.job.metric])
        except DamagedError as error:
            self.state, self.last = FAILED, str(error)

    def start(self, place: str = "") -> None:
        self.state, self.place, self.starts = RUNNING, place, self.starts + 1
        self.first, self.last = 0, ""

    def line(self, text: str) -> None:
        """Update the progress from a line of the job's output."""
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
        """Update the progress from the run folder after the job's process has ended."""
        if code == BUSY:  # another process began the run after it was checked here
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
        """Estimate the seconds left from the epochs of this process. None before its second epoch has ended."""
        if self.state != RUNNING or self.epoch <= self.first or not self.first:
            return None
        pace = (self.latest - self.began) / (self.epoch - self.first)
        return max(0.0, (self.epochs - self.epoch) * pace - (time.monotonic() - self.latest))


def parse_epoch(text: str) -> tuple[int, int] | None:
    """Return the number of finished epochs and of all epochs from a line of `kcomp train`. None for other lines."""
    match = EPOCH.match(text)
    return (int(match[1]), int(match[2])) if match else None


def count(all_jobs: Sequence[SweepProgress], state: str) -> int:
    return sum(job.state == state for job in all_jobs)


def failed(all_jobs: Sequence[SweepProgress]) -> list[SweepProgress]:
    return [job for job in all_jobs if job.state == FAILED]
