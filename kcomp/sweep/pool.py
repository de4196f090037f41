"""Jobs as processes of this machine, some side by side, each ended with this process however it ends."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kcomp.sweep.jobs import Job
from kcomp.sweep.machine import Share
from kcomp.sweep.process import Process
from kcomp.sweep.progress import COMPLETE, ELSEWHERE, FAILED, RUNNING, WAITING, Progress
from kcomp.system.processes import KCOMP, child_environment

PAUSE = 0.2  # seconds between two looks


@dataclass(frozen=True)
class Worker:
    """A slot's process."""

    slot: int
    progress: Progress
    process: Process


def training(job: Job) -> list[str]:
    return [*KCOMP, *job.arguments()]


def run(
    jobs: Sequence[Progress],
    share: Share,
    show: Callable[[], None],
    command: Callable[[Job], list[str]] = training,
) -> None:
    """Train what is not complete; a job that fails does not stop the others, and one that another process is training
    is waited for. `show` is called at every look; `command` is what trains a job."""
    workers: list[Worker] = []
    try:
        while any(job.state not in (COMPLETE, FAILED) for job in jobs):
            fill(workers, jobs, share, command)
            show()
            time.sleep(PAUSE)
            for worker in list(workers):
                code, lines = worker.process.look()
                for line in lines:
                    worker.progress.line(line)
                if code is not None:
                    workers.remove(worker)
                    worker.progress.finish(code)
    finally:
        stop(workers)
        show()


def fill(workers: list[Worker], jobs: Sequence[Progress], share: Share, command: Callable[[Job], list[str]]) -> None:
    """Start jobs in the free slots, in their order."""
    for job in jobs:
        free = sorted(set(range(share.slots)) - {worker.slot for worker in workers})
        if not free:
            return
        if job.state not in (WAITING, ELSEWHERE):
            continue
        if job.job.run.busy:
            job.state = ELSEWHERE
        elif job.job.run.complete:  # by the other process
            job.finish(0)
        else:
            environ = child_environment(job.job.backend, threads=share.threads, device=share.device(free[0]))
            workers.append(Worker(free[0], job, Process(command(job.job), environ, job.job.log)))
            job.start()


def stop(workers: Sequence[Worker]) -> None:
    """End what still runs, and all that it started."""
    for worker in workers:
        worker.process.ask_to_end()
    for worker in workers:
        worker.process.end()
        if worker.progress.state == RUNNING:
            worker.progress.state = WAITING
