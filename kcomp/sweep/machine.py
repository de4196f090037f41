"""Divide this machine's cores, memory and GPUs among jobs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY = 2 * 2**30  # bytes per job on the CPU: EfficientNet-Lite0 at 224 px with batches of 16 images
CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Share:
    """The division of the machine among jobs.

    `slots` jobs run at the same time, each with `threads` threads, and a GPU if there are any.
    """

    slots: int
    threads: int
    devices: tuple[str, ...] = ()

    def device(self, slot: int) -> str | None:
        return self.devices[slot] if self.devices else None


def share(count: int, parallel: int | None = None) -> Share:
    """Return the division of the machine among `count` jobs.

    It depends only on the machine and the number of jobs, not on free memory or remaining jobs. The reason is that the
    number of threads can change the last bit of a sum, and a continued sweep must give the same results.

    Args:
        count: Number of jobs of the sweep.
        parallel: Number of jobs that run at the same time. None for one for each GPU, or as many as cores and memory
            allow.

    Raises:
        ValueError: If `parallel` exceeds the number of GPUs.
    """
    cores, devices = usable_cores(), gpus(os.environ)
    if devices and parallel is not None and parallel > len(devices):
        raise ValueError(
            f"each job needs its own GPU, and {len(devices)} can be seen; {parallel} are to run side by side. "
            "To train on the CPU, set CUDA_VISIBLE_DEVICES=-1"
        )
    limit = len(devices) or max(1, min(cores, memory() // MEMORY))
    slots = max(1, min(parallel or limit, count))
    return Share(slots, max(1, cores // slots), devices[:slots])


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Return the bytes of memory that the machine and its control group allow this process."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(installed, int(limit)) if limit.isdigit() else installed


def gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the usable GPUs, in the form of CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in environ:
        named = [name.strip() for name in environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
        return tuple(named[: named.index("-1")] if "-1" in named else named)
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    process = subprocess.run(query, capture_output=True, text=True, check=False)
    return tuple(process.stdout.split()) if process.returncode == 0 else ()
