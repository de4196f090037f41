"""Describe the processor of this machine, and how many threads the backend uses on it."""

import os
import platform
from pathlib import Path

import keras

PROCESSORS = Path("/proc/cpuinfo")  # Linux only; see proc(5)


def threads() -> int:
    """Return how many threads the backend uses on the CPU."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("NPROC") or cores)  # as XLA does


def processor() -> str:
    """Return the name of the processor, such as "AMD EPYC"."""
    lines = PROCESSORS.read_text().splitlines() if PROCESSORS.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
