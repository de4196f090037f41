"""What this machine has to share out: cores, memory, GPUs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY = 2 * 2**30  # that a job on the CPU is given credit for: EfficientNet-Lite0 at 224 px, 16 images a batch
CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Share:
    """How jobs share the machine: `slots` side by side, each with `threads` and, if there are any, a GPU."""

    slots: int
    threads: int
    devices: tuple[str, ...] = ()

    def device(self, slot: int) -> str | None:
        return self.devices[slot] if self.devices else None


def share(count: int, asked: int | None = None) -> Share:
    """The share of `count` jobs, `asked` side by side: by default one a GPU, or as many as cores and memory allow.

    It hangs on the machine and on the whole sweep, not on what is free or left of it just now: the number of threads
    can change the last bit of a sum, and a sweep that goes on must give what it would have given. ValueError where
    more are asked for than there are GPUs.
    """
    cores, devices = usable_cores(), gpus(os.environ)
    if devices and asked is not None and asked > len(devices):
        raise ValueError(
            f"each job has a GPU of its own, and {len(devices)} can be seen; {asked} are to run side by side. "
            "To train on the CPU, set CUDA_VISIBLE_DEVICES=-1"
        )
    most = len(devices) or max(1, min(cores, memory() // MEMORY))
    slots = max(1, min(asked or most, count))
    return Share(slots, max(1, cores // slots), devices[:slots])


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory this process may use, as the machine and its control group say."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    return min(found, int(limit)) if limit.isdigit() else found


def gpus(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the GPUs that may be used, as CUDA_VISIBLE_DEVICES takes them."""
    if "CUDA_VISIBLE_DEVICES" in environ:
        named = [name.strip() for name in environ["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()]
        return tuple(named[: named.index("-1")] if "-1" in named else named)
    if shutil.which("nvidia-smi") is None:
        return ()
    asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return tuple(done.stdout.split()) if done.returncode == 0 else ()
