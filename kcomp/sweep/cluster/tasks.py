"""Train the jobs of a sweep as tasks of a Ray cluster.

If a machine of the cluster is lost, Ray starts its job on another one.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kcomp.sweep.cluster.connection import JobResources
from kcomp.sweep.cluster.storage import storage_token
from kcomp.sweep.jobs import TrainingJob
from kcomp.sweep.progress import FAILED, RUNNING, WAITING, SweepProgress
from kcomp.sweep.remote import Answer, Order, pack, train, unpack

RETRIES = 20  # how often Ray restarts a job whose worker or node was lost
PAUSE = 0.5  # seconds between two checks of the jobs
VISIBLE = 30.0  # seconds until a file that another machine wrote to shared storage must be visible here


class Listener:
    """A Ray actor (an object in its own process) that collects the lines that all jobs print.

    The process that started the sweep reads them with `take`.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[int, str | None, str]] = []

    def add(self, number: int, place: str | None, text: str) -> None:
        """Store a line that a job printed.

        Args:
            number: The position of the job in the sweep.
            place: The name of the job's machine in the first message of a job, else None.
            text: The line. Empty in the first message.
        """
        self.messages.append((number, place, text))

    def take(self) -> list[tuple[int, str | None, str]]:
        """Return the stored messages (number, place, text), and remove them."""
        messages, self.messages = self.messages, []
        return messages


def task(order: Order, number: int, listener: Any) -> Answer:
    """Train a job on the machine that runs this function, and return its outcome.

    Args:
        order: The job and the data that it needs.
        number: The position of the job in the sweep.
        listener: The `Listener` that gets each printed line.
    """
    listener.add.remote(number, socket.gethostname(), "")
    return train(order, lambda text: listener.add.remote(number, None, text))


def run(
    jobs: Sequence[SweepProgress], sources: Mapping[str, str], resources: JobResources, show: Callable[[], None]
) -> None:
    """Train the jobs that are not complete on the cluster. After a job fails, the other jobs are still trained.

    Args:
        jobs: The jobs with their progress, which this function updates.
        sources: The source texts of the recipe and of the files that it imports, by file name.
        resources: How many cores and GPUs each job uses.
        show: Function that shows the progress. It is called about twice a second.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    on_this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    listener = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=on_this_node)(Listener).remote()
    remote = ray.remote(num_cpus=resources.threads, num_gpus=resources.gpus, max_retries=RETRIES)(task)
    waiting = [number for number, job in enumerate(jobs) if job.state == WAITING]
    running: dict[Any, int] = {}
    with storage_token(jobs) as shared:
        try:
            while waiting or running:
                while waiting and (resources.limit is None or len(running) < resources.limit):
                    number = waiting.pop(0)
                    order = order_of(jobs[number].job, sources, shared, resources.threads)
                    running[remote.remote(order, number, listener)] = number
                finished, _ = ray.wait(list(running), timeout=PAUSE)
                with contextlib.suppress(ray.exceptions.RayError):  # lost messages change only what is shown
                    apply_messages(jobs, running.values(), ray.get(listener.take.remote(), timeout=10))
                for reference in finished:
                    apply_answer(jobs[running.pop(reference)], reference)
                show()
        finally:
            for reference, number in running.items():
                with contextlib.suppress(Exception):  # the cluster itself may have failed
                    ray.cancel(reference, force=True)
                jobs[number].state = WAITING
            show()


def order_of(job: TrainingJob, sources: Mapping[str, str], shared: Path, threads: int) -> Order:
    """Return a job with the data that another machine needs to train it."""
    job = replace(job, recipe=str(Path(job.recipe).resolve()), folder=str(Path(job.folder).resolve()))
    return Order(job, dict(sources), str(shared), str(Path.cwd()), threads, pack(job.run))


def apply_messages(
    jobs: Sequence[SweepProgress], running: Collection[int], messages: Sequence[tuple[int, str | None, str]]
) -> None:
    """Update the progress of jobs from the messages of a `Listener`.

    Args:
        jobs: The progress of each job.
        running: The numbers of the running jobs. Messages of other jobs are ignored.
        messages: Tuples (number, place, text), as in `Listener.add`.
    """
    for number, place, text in messages:
        if number not in running:
            continue
        if place is not None:
            jobs[number].start(place)
        elif jobs[number].state == RUNNING:
            jobs[number].line(text)


def apply_answer(progress: SweepProgress, reference: Any) -> None:
    """Update the progress of a job that has ended, from its `Answer`. Store the run and its output if it contains them.

    Args:
        progress: The progress of the job.
        reference: Ray's reference to the job's `Answer`.
    """
    import ray

    job = progress.job
    try:
        answer: Answer = ray.get(reference)
        if answer.log:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            with job.log.open("a") as file:
                file.write(answer.log)
        if answer.packed is not None:
            unpack(answer.packed, job.run)
    except (ray.exceptions.RayError, RuntimeError, OSError) as error:
        progress.state, progress.last = FAILED, " ".join(str(error).split())[:300]
        return
    deadline = time.monotonic() + VISIBLE
    while answer.code == 0 and not job.run.complete and time.monotonic() < deadline:
        time.sleep(PAUSE)
    progress.finish(answer.code)
