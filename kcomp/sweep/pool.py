"""Jobs as processes of this machine, some side by side, each ended with this process however it ends."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

from kcomp.sweep.jobs import Job, command_of, environment, new_lines, start
from kcomp.sweep.machine import Share
from kcomp.sweep.progress import COMPLETE, ELSEWHERE, FAILED, RUNNING, WAITING, Progress

PAUSE = 0.2  # seconds between two looks
PATIENCE = 10.0  # seconds from SIGTERM to SIGKILL


@dataclass
class Worker:
    """A slot's process."""

    slot: int
    progress: Progress
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    rest: bytearray = field(default_factory=bytearray)

    def listen(self) -> None:
        for text in new_lines(self.log, self.rest):
            self.progress.line(text)


def training(job: Job) -> list[str]:
    return command_of(job.arguments())


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
                code = worker.process.poll()
                worker.listen()
                if code is not None:
                    workers.remove(worker)
                    worker.log.close()
                    ended(worker.progress, code)
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
            workers.append(begin(job, free[0], share, command))


def begin(progress: Progress, slot: int, share: Share, command: Callable[[Job], list[str]]) -> Worker:
    job = progress.job
    environ = environment(job.backend, threads=share.threads, device=share.device(slot))
    before = job.log.stat().st_size if job.log.is_file() else 0
    process = start(command(job), environ, job.log)
    log = job.log.open("rb")
    log.seek(before)
    progress.start()
    return Worker(slot, progress, process, log)


def ended(progress: Progress, code: int) -> None:
    """What the end of a job's process means: another process may have taken its run between our look and its start."""
    if code and progress.said_locked and not progress.job.run.complete:
        progress.state = ELSEWHERE
    else:
        progress.finish(code)


def stop(workers: Sequence[Worker]) -> None:
    """End what still runs, and all that it started."""
    for worker in workers:
        signal_group(worker.process, signal.SIGTERM)
    for worker in workers:
        try:
            worker.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            signal_group(worker.process, signal.SIGKILL)
            worker.process.wait()
        worker.log.close()
        if worker.progress.state == RUNNING:
            worker.progress.state = WAITING


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
