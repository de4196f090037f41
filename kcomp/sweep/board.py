"""Show the progress of a sweep (many trainings): a live table in a terminal, or lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kcomp.sweep.progress import COMPLETE, ELSEWHERE, FAILED, RUNNING, WAITING, SweepProgress, count
from kcomp.system.printable import printable

STYLES = {RUNNING: "bold", FAILED: "red", COMPLETE: "green", ELSEWHERE: "yellow", WAITING: "dim"}
ORDER = (RUNNING, FAILED, ELSEWHERE, WAITING, COMPLETE)  # a small terminal shows jobs in the first of these states
FRAME = 5  # lines of the terminal that are not table rows, such as title and header


class Board:
    """A display of a sweep's jobs (trainings). A call shows the current state of each job.

    Args:
        console: Where to print.
        jobs: The progress of each job. Other code updates these objects during the sweep.
    """

    def __init__(self, console: Console, jobs: Sequence[SweepProgress]) -> None:
        self.console, self.jobs = console, jobs
        self.live: Live | None = None
        self.shown_states = {job.job.folder: (job.state, job.starts) for job in jobs}
        self.done_before, self.started = count(jobs, COMPLETE), time.monotonic()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the live table inside a `with` block. Without a terminal, do nothing."""
        if not self.console.is_terminal:
            yield
            return
        with Live(self.table(), console=self.console, refresh_per_second=4, redirect_stdout=False) as self.live:
            yield

    def __call__(self) -> None:
        if self.live is not None:
            self.live.update(self.table())
            return
        for job in self.jobs:
            if (job.state, job.starts) != self.shown_states[job.job.folder]:
                self.shown_states[job.job.folder] = job.state, job.starts
                self.console.print(self.line(job), highlight=False, soft_wrap=True, markup=False)

    def line(self, job: SweepProgress) -> str:
        """Return a line about one job, such as `3/8 jax seed 0 fold 1: running`. 3 of 8 jobs are complete."""
        start = f"{count(self.jobs, COMPLETE)}/{len(self.jobs)} {job.job.name}: {job.state}"
        if job.state == RUNNING:
            resumed = f", from epoch {job.epoch + 1}" if job.epoch else ""
            return start + (f" on {job.place}" if job.place else "") + resumed
        if job.state == ELSEWHERE:
            return f"{start}: another process trains it; waiting for it"
        if job.state == COMPLETE:
            return f"{start}, {job.job.metric} {job.score:.4f}"
        return f"{start}: {job.last} ({job.job.log})" if job.state == FAILED else start

    def summary(self) -> str:
        """Return a text such as `1 running, 2 complete; about 1:30 to go`."""
        counts = [f"{count(self.jobs, state)} {state}" for state in ORDER if count(self.jobs, state)]
        seconds = self.seconds_left()
        return ", ".join(counts) + (f"; about {clock(seconds)} to go" if seconds is not None else "")

    def seconds_left(self) -> float | None:
        """Estimate how many seconds the sweep still takes. None while no job is complete, and when all have ended."""
        finished = count(self.jobs, COMPLETE) - self.done_before
        to_go = sum(job.state not in (COMPLETE, FAILED) for job in self.jobs)
        if not finished or not to_go:
            return None
        now = sum(job.epoch / job.epochs for job in self.jobs if job.state == RUNNING and job.epochs)
        return (time.monotonic() - self.started) / (finished + now) * (to_go - now)

    def table(self) -> Table:
        table = Table(title=self.summary(), title_justify="left", box=None, header_style="bold")
        names = list(dict.fromkeys(name for job in self.jobs for name in job.job.values))
        for name in ("backend", "seed", "fold", *names, "state", "epoch", "score", "left"):
            table.add_column(name, justify="right" if name in ("seed", "fold", "epoch", "score", "left") else "left")
        for job in self.visible():
            values = [job.job.values.get(name, "") for name in names]
            state = Text(job.state, STYLES[job.state]).append(
                f" on {printable(job.place)}" if job.place else "", "none"
            )
            epoch = f"{job.epoch}/{job.epochs or '?'}" if job.epoch else ""
            score = "" if job.score is None else f"{job.job.metric} {job.score:.4f}"
            remaining = "" if job.seconds_left is None else clock(job.seconds_left)
            table.add_row(
                job.job.backend, str(job.job.seed), str(job.job.fold), *values, state, epoch, score, remaining
            )
        return table

    def visible(self) -> list[SweepProgress]:
        """Return the jobs that fit into the terminal, in the order of the sweep. Running and failed jobs come first."""
        count = max(1, self.console.size.height - FRAME)
        chosen = sorted(range(len(self.jobs)), key=lambda number: ORDER.index(self.jobs[number].state))[:count]
        return [self.jobs[number] for number in sorted(chosen)]


def clock(seconds: float) -> str:
    """Return a duration in seconds as a text: minutes:seconds, or hours:minutes:seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
