"""Divide this machine's cores, memory and GPUs among the jobs (trainings) of a sweep."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY = 2 * 2**30  # bytes for each job on the CPU, for EfficientNet-Lite0 at 224 px with batches of 16 images
CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Share:
    """The division of a machine among jobs.

    Attributes:
        slots: How many jobs run at the same time. Slots are numbered from 0.
        threads: How many threads each job uses.
        devices: One GPU for each slot, as CUDA_VISIBLE_DEVICES names it. Empty on a machine without GPUs.
    """

    slots: int
    threads: int
    devices: tuple[str, ...] = ()

    def device(self, slot: int) -> str | None:
        """Return the GPU of a slot. None on a machine without GPUs."""
        return self.devices[slot] if self.devices else None


def share(count: int, parallel: int | None = None) -> Share:
    """Return how many of `count` jobs run at the same time on this machine, with how many threads and which GPUs.

    A continued sweep gets the same result: it does not depend on free memory or on complete jobs.

    Args:
        count: How many jobs the sweep has.
        parallel: How many jobs run at the same time. None runs one job for each GPU or, without GPUs, as many as cores
            and memory allow.

    Raises:
        ValueError: If `parallel` exceeds the number of GPUs.
    """
    # The number of threads can change the last bit of a sum.
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
    """Return how many bytes of memory this process may use: all, or the limit of its control group (Linux)."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(installed, int(limit)) if limit.isdigit() else installed


def gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPUs that this process may use, named as in CUDA_VISIBLE_DEVICES, such as ("0", "1").

    They are those of CUDA_VISIBLE_DEVICES in `environ`, or else those that nvidia-smi lists.
    """
    if "CUDA_VISIBLE_DEVICES" in environ:
        named = [name.strip() for name in environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
        return tuple(named[: named.index("-1")] if "-1" in named else named)
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    process = subprocess.run(query, capture_output=True, text=True, check=False)
    return tuple(process.stdout.split()) if process.returncode == 0 else ()
