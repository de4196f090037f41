"""Train the jobs (runs) of a sweep on this machine, several at the same time, each in its own process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcomp.sweep.jobs import TrainingJob
from kcomp.sweep.machine import Share
from kcomp.sweep.process import Process
from kcomp.sweep.progress import COMPLETE, ELSEWHERE, FAILED, RUNNING, WAITING, SweepProgress
from kcomp.system.processes import KCOMP, child_environment

PAUSE = 0.2  # seconds between two checks of the processes


@dataclass(frozen=True)
class LocalSlot:
    """A process that trains a job.

    Attributes:
        slot: The number of the slot, from 0. Jobs that run at the same time have different slots and GPUs.
        progress: The progress of the job.
        process: The process.
    """

    slot: int
    progress: SweepProgress
    process: Process


def train_command(job: TrainingJob) -> list[str]:
    return [*KCOMP, *job.arguments()]


def run(
    jobs: Sequence[SweepProgress],
    share: Share,
    show: Callable[[], None],
    command: Callable[[TrainingJob], list[str]] = train_command,
) -> None:
    """Train the jobs that are not complete, even if one fails.

    Args:
        jobs: The jobs with their progress, which this function updates.
        share: How many jobs run at the same time, with which threads and GPUs.
        show: Function that shows the progress. It is called several times a second.
        command: Function that returns the command line that trains a job.
    """
    busy_slots: list[LocalSlot] = []
    try:
        while any(job.state not in (COMPLETE, FAILED) for job in jobs):
            fill(busy_slots, jobs, share, command)
            show()
            time.sleep(PAUSE)
            for slot in list(busy_slots):
                code, lines = slot.process.look()
                for line in lines:
                    slot.progress.line(line)
                if code is not None:
                    busy_slots.remove(slot)
                    slot.progress.finish(code)
    finally:
        stop(busy_slots)
        show()


def fill(
    busy_slots: list[LocalSlot],
    jobs: Sequence[SweepProgress],
    share: Share,
    command: Callable[[TrainingJob], list[str]],
) -> None:
    """Start the next jobs until all slots are in use. Append their processes to `busy_slots`."""
    for job in jobs:
        free = sorted(set(range(share.slots)) - {busy.slot for busy in busy_slots})
        if not free:
            return
        if job.state not in (WAITING, ELSEWHERE):
            continue
        if job.job.run.busy:
            job.state = ELSEWHERE
        elif job.job.run.complete:  # another process has completed the run
            job.finish(0)
        else:
            environ = child_environment(job.job.backend, threads=share.threads, device=share.device(free[0]))
            busy_slots.append(LocalSlot(free[0], job, Process(command(job.job), environ, job.job.log)))
            job.start()


def stop(busy_slots: Sequence[LocalSlot]) -> None:
    for slot in busy_slots:
        slot.process.ask_to_end()
    for slot in busy_slots:
        slot.process.end()
        if slot.progress.state == RUNNING:
            slot.progress.state = WAITING
