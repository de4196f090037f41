"""Count the threads of the backend."""

import os

import keras


def threads() -> int:
    """Return how many threads the backend uses on the CPU."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(os.environ.get("NPROC") or cores)  # as XLA does
