"""Train jobs as processes of this machine, several at the same time. If this process ends, they end too."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcomp.sweep.jobs import TrainingJob
from kcomp.sweep.machine import Share
from kcomp.sweep.process import Process
from kcomp.sweep.progress import COMPLETE, ELSEWHERE, FAILED, RUNNING, WAITING, SweepProgress
from kcomp.system.processes import KCOMP, child_environment

PAUSE = 0.2  # seconds between two checks


@dataclass(frozen=True)
class LocalSlot:
    """One of the processes that run at the same time, with its job and its number."""

    slot: int
    progress: SweepProgress
    process: Process


def training(job: TrainingJob) -> list[str]:
    return [*KCOMP, *job.arguments()]


def run(
    jobs: Sequence[SweepProgress],
    share: Share,
    show: Callable[[], None],
    command: Callable[[TrainingJob], list[str]] = training,
) -> None:
    """Train the jobs that are not complete.

    A failed job does not stop the others. If another process already trains a job, wait for that process.

    Args:
        jobs: The jobs and their progress, which is updated.
        share: How the jobs share this machine.
        show: Called at every check.
        command: Returns the command line that trains a job.
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
    """Start jobs in the free slots, in order."""
    for job in jobs:
        free = sorted(set(range(share.slots)) - {busy.slot for busy in busy_slots})
        if not free:
            return
        if job.state not in (WAITING, ELSEWHERE):
            continue
        if job.job.run.busy:
            job.state = ELSEWHERE
        elif job.job.run.complete:  # the other process completed it
            job.finish(0)
        else:
            environ = child_environment(job.job.backend, threads=share.threads, device=share.device(free[0]))
            busy_slots.append(LocalSlot(free[0], job, Process(command(job.job), environ, job.job.log)))
            job.start()


def stop(busy_slots: Sequence[LocalSlot]) -> None:
    """End the running processes and all that they started."""
    for slot in busy_slots:
        slot.process.ask_to_end()
    for slot in busy_slots:
        slot.process.end()
        if slot.progress.state == RUNNING:
            slot.progress.state = WAITING
