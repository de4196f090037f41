"""Connect to a Ray cluster, and divide its cores and GPUs among the jobs of a sweep."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcomp.sweep.machine import usable_cores

ANSWER = 10.0  # seconds to wait for an answer of the head node


@dataclass(frozen=True)
class JobResources:
    """The division of a cluster among the jobs (trainings) of a sweep.

    Attributes:
        slots: How many jobs the cluster can run at the same time.
        threads: How many cores each job uses.
        gpus: How many GPUs each job uses.
        limit: How many jobs are submitted to Ray at the same time. None submits all jobs at once, and Ray queues them.
    """

    slots: int
    threads: int
    gpus: int
    limit: int | None


def check_address(address: str | None) -> None:
    """Raise ValueError if the address of a cluster is invalid, and ConnectionError if nothing answers."""
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
def connected(address: str | None, count: int, parallel: int | None, log: Path) -> Iterator[JobResources]:
    """Connect to a Ray cluster inside a `with` block. Yield how many cores and GPUs each job uses.

    In the block, text that this process prints goes to a file.

    Args:
        address: Address of the cluster. None for $RAY_ADDRESS or, if that is not set, a new cluster on this machine.
        count: How many jobs the sweep has.
        parallel: How many jobs run at the same time. None for as many as possible.
        log: The file for the printed text.
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
            yield divide_resources([node["Resources"] for node in ray.nodes() if node["Alive"]], count, parallel)
        finally:
            ray.shutdown()


def divide_resources(nodes: Sequence[Mapping[str, float]], count: int, parallel: int | None) -> JobResources:
    """Return how many of a cluster's cores and GPUs each of `count` jobs uses.

    Args:
        nodes: For each node, a dict with its number of cores ("CPU") and GPUs ("GPU").
        count: How many jobs the sweep has.
        parallel: How many jobs run at the same time. None for as many as possible.
    """
    cpus, gpus = ([int(node.get(name, 0)) for node in nodes] for name in ("CPU", "GPU"))
    if not sum(cpus):
        raise ValueError("the Ray cluster has no CPUs for tasks; start nodes with --num-cpus of 1 or more")
    side = min(count, parallel or count)
    if sum(gpus):  # a task waits forever if no node has its resources
        threads = max(1, min(cpu // gpu for cpu, gpu in zip(cpus, gpus, strict=True) if gpu))
        return JobResources(min(side, sum(gpus)), threads, 1, parallel)
    threads = max(1, min(min(cpu for cpu in cpus if cpu), sum(cpus) // side))
    return JobResources(min(side, sum(cpu // threads for cpu in cpus)), threads, 0, parallel)
