"""Train jobs as tasks of a Ray cluster; a job whose worker or node is lost is continued elsewhere."""

import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kcomp.sweep.jobs import TrainingJob
from kcomp.sweep.machine import usable_cores
from kcomp.sweep.progress import FAILED, RUNNING, WAITING, SweepProgress
from kcomp.sweep.remote import Answer, Order, pack, train, unpack
from kcomp.system.locks import try_lock, wait_for_lock

RETRIES = 20  # of a job whose worker or node was lost; it continues its run folder
PAUSE = 0.5  # seconds between two checks
TOKEN = ".sweep-"  # prefix of the files that detect shared storage
ANSWER = 10.0  # seconds to wait for a head node
SEEN = 30.0  # seconds until another machine's file must be visible here, over network storage


@dataclass(frozen=True)
class Part:
    """The resources of a job: `threads` cores and `gpus` GPUs; `slots` jobs now run at the same time.

    limit: most jobs submitted at once. None submits all, because Ray queues them and a cluster may grow.
    """

    slots: int
    threads: int
    gpus: int
    limit: int | None


def check_address(address: str | None) -> None:
    """Raise ValueError for an invalid address of a head node, ConnectionError if nothing answers there.

    Ray itself would try for minutes.
    """
    if address in (None, "", "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ValueError(
            f"a Ray cluster's address is that of its head node, host:port, as `ray start --head` prints it, or auto; "
            f"received {address!r}"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except OSError as error:
        raise ConnectionError(f"no Ray cluster answers at {address}: {error.strerror or error}") from error


@contextlib.contextmanager
def connected(address: str | None, count: int, parallel: int | None, log: Path) -> Iterator[Part]:
    """Join the cluster at this address or $RAY_ADDRESS; otherwise start one on this machine, which ends with the block.

    Everything printed to sys.stdout in the block goes to the file `log`, because Ray prints many lines for a lost node.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    alone = address is None and not os.environ.get("RAY_ADDRESS")
    if alone:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else it writes a token into the home folder
    import ray

    own: dict[str, Any] = {"num_cpus": usable_cores(), "include_dashboard": False} if alone else {}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, contextlib.redirect_stdout(file):
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        try:
            yield part([node["Resources"] for node in ray.nodes() if node["Alive"]], count, parallel)
        finally:
            ray.shutdown()


def part(nodes: Sequence[Mapping[str, float]], count: int, parallel: int | None) -> Part:
    """Divide the resources of the nodes among `count` jobs, `parallel` of them at the same time."""
    cpus, gpus = ([int(node.get(name, 0)) for node in nodes] for name in ("CPU", "GPU"))
    if not sum(cpus):
        raise ValueError("the Ray cluster has no CPUs for tasks; start nodes with --num-cpus of 1 or more")
    side = min(count, parallel or count)
    if sum(gpus):  # a task that requests what no node has waits for ever
        threads = max(1, min(cpu // gpu for cpu, gpu in zip(cpus, gpus, strict=True) if gpu))
        return Part(min(side, sum(gpus)), threads, 1, parallel)
    threads = max(1, min(min(cpu for cpu in cpus if cpu), sum(cpus) // side))
    return Part(min(side, sum(cpu // threads for cpu in cpus)), threads, 0, parallel)


class Listener:
    """An actor beside the driver that collects messages of jobs until the driver takes them."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str | None, str]] = []

    def tell(self, number: int, place: str | None, text: str) -> None:
        """Store a line of a job's output; with a place, the job begins there."""
        self.messages.append((number, place, text))

    def take(self) -> list[tuple[int, str | None, str]]:
        messages, self.messages = self.messages, []
        return messages


def task(order: Order, number: int, listener: Any) -> Answer:
    """Train a job on a node."""
    listener.tell.remote(number, socket.gethostname(), "")
    return train(order, lambda text: listener.tell.remote(number, None, text))


def run(jobs: Sequence[SweepProgress], sources: Mapping[str, str], part: Part, show: Callable[[], None]) -> None:
    """Train the jobs that are not complete; a failed job does not stop the others. Calls `show` at every check."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    listener = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Listener).remote()
    remote = ray.remote(num_cpus=part.threads, num_gpus=part.gpus, max_retries=RETRIES)(task)
    waiting = [number for number, job in enumerate(jobs) if job.state == WAITING]
    running: dict[Any, int] = {}
    with token(jobs) as shared:
        try:
            while waiting or running:
                while waiting and (part.limit is None or len(running) < part.limit):
                    number = waiting.pop(0)
                    order = order_of(jobs[number].job, sources, shared, part.threads)
                    running[remote.remote(order, number, listener)] = number
                done, _ = ray.wait(list(running), timeout=PAUSE)
                with contextlib.suppress(ray.exceptions.RayError):  # the messages are only shown
                    apply_messages(jobs, running.values(), ray.get(listener.take.remote(), timeout=10))
                for reference in done:
                    apply_answer(jobs[running.pop(reference)], reference)
                show()
        finally:
            for reference, number in running.items():
                with contextlib.suppress(Exception):  # the cluster itself may have failed
                    ray.cancel(reference, force=True)
                jobs[number].state = WAITING
            show()


@contextlib.contextmanager
def token(jobs: Sequence[SweepProgress]) -> Iterator[Path]:
    """Make a file beside the runs that shows which machines share their storage."""
    root = jobs[0].job.run.folder.resolve().parents[2]
    root.mkdir(parents=True, exist_ok=True)
    for old in root.glob(f"{TOKEN}*"):
        with contextlib.suppress(OSError):
            lock = try_lock(old)
            if lock is not None:  # a running sweep holds its lock
                with lock:
                    old.unlink()
    path = root / f"{TOKEN}{uuid.uuid4().hex}"
    with wait_for_lock(path):
        path.touch()  # another sweep may have removed it before the lock
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def order_of(job: TrainingJob, sources: Mapping[str, str], shared: Path, threads: int) -> Order:
    job = replace(job, recipe=str(Path(job.recipe).resolve()), folder=str(Path(job.folder).resolve()))
    return Order(job, dict(sources), str(shared), str(Path.cwd()), threads, pack(job.run))


def apply_messages(
    jobs: Sequence[SweepProgress], running: Collection[int], messages: Sequence[tuple[int, str | None, str]]
) -> None:
    """Update the progress from the tasks' messages; ignore late messages of ended jobs."""
    for number, place, text in messages:
        if number not in running:
            continue
        if place is not None:
            jobs[number].start(place)
        elif jobs[number].state == RUNNING:
            jobs[number].line(text)


def apply_answer(progress: SweepProgress, reference: Any) -> None:
    """Update the progress from a task's answer, and write the run if its storage is not shared."""
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
    deadline = time.monotonic() + SEEN
    while answer.code == 0 and not job.run.complete and time.monotonic() < deadline:
        time.sleep(PAUSE)
    progress.finish(answer.code)
