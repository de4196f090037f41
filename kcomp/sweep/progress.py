"""How far each job of a sweep is, read from the lines that `kcomp train` prints."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from kcomp.sweep.jobs import Job
from kcomp.system.errors import BUSY
from kcomp.system.files import DamagedError
from kcomp.system.processes import describe_exit

WAITING, RUNNING, ELSEWHERE, COMPLETE, FAILED = "waiting", "running", "elsewhere", "complete", "failed"
EPOCH = re.compile(r"epoch +(\d+)/(\d+) ")


@dataclass
class Progress:
    """One job's state.

    epoch, epochs: finished, and in all; 0 while unknown. score: of the last epoch, or of the complete run.
    began, latest: when this process's first and latest epoch ended, and `first`, the number of that first one.
    starts: how often a process of it began.
    """

    job: Job
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
                self.epoch, self.score = int(row["epoch"]), float(row[self.job.monitor])
        except DamagedError as error:
            self.state, self.last = FAILED, str(error)

    def start(self, place: str = "") -> None:
        self.state, self.place, self.starts = RUNNING, place, self.starts + 1
        self.first, self.last = 0, ""

    def line(self, text: str) -> None:
        """Take in a line of the job's output."""
        if text.strip():
            self.last = text.strip()
        found = EPOCH.match(text)
        if found is None:
            return
        self.epoch, self.epochs, self.latest = int(found[1]), int(found[2]), time.monotonic()
        if not self.first:
            self.first, self.began = self.epoch, self.latest
        score = re.search(rf" {self.job.monitor} (-?[\d.]+|nan)", text)
        self.score = float(score[1]) if score else self.score

    def finish(self, code: int) -> None:
        """Take in that the job's process has ended: what counts is the run folder."""
        if code == BUSY:  # another process took the run between our look and the start
            self.state = ELSEWHERE
            return
        if not self.job.run.complete:
            self.state = FAILED
            self.last = describe_exit(code, self.last) if code else "the run was not finished"
            return
        result = self.job.run.result
        self.state, self.score = COMPLETE, result["scores"].get(self.job.monitor)
        self.epoch = self.epochs = result.get("epochs") or self.epoch

    @property
    def left(self) -> float | None:
        """Seconds to go, from the epochs of this process, None while they are too few."""
        if self.state != RUNNING or self.epoch <= self.first or not self.first:
            return None
        pace = (self.latest - self.began) / (self.epoch - self.first)
        return max(0.0, (self.epochs - self.epoch) * pace - (time.monotonic() - self.latest))


def count(all_jobs: Sequence[Progress], state: str) -> int:
    return sum(one.state == state for one in all_jobs)


def failed(all_jobs: Sequence[Progress]) -> list[Progress]:
    return [one for one in all_jobs if one.state == FAILED]
