"""Measure the cost of a backend in a new process: seconds until the first update, images per second, and memory."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kcomp.compare.worker.experiment import ProbeStage
from kcomp.compare.worker.trajectory import final_digest, updates
from kcomp.prediction.forward import compile_forward

ROUNDS = 4
SECONDS = 1.0  # the approximate duration of a round of predictions


def measure(experiment: ProbeStage, count: int, started: float) -> dict[str, Any]:
    """Run `count` updates of the weights and some predictions. Return the cost as a dict.

    Args:
        experiment: The network with its optimizer and batches.
        count: How many updates to run.
        started: The time.time() at which the process started.

    Returns:
        A dict with times in seconds, speeds, memory, and a hash of the final weights. A speed is a list: images per
        second in each round.
    """
    model, batches = experiment.model, experiment.batches(count)
    rows = len(batches[0]["images"])
    begun = time.perf_counter()
    updates(model, batches[:1])
    first, to_first = time.perf_counter() - begun, time.time() - started
    together = max(1, (count - 1) // ROUNDS)
    warm = 1 + (count - 1) % together
    if warm > 1:
        updates(model, batches[1:warm])
    training = Timer(rows * together)
    updates(model, batches[warm:], training, together=together)
    figures = {"time_to_first_update": to_first, "first_update": first, "train": training.speeds}
    if training.speeds:
        figures["compile"] = max(0.0, first - rows / sorted(training.speeds)[len(training.speeds) // 2])
    digest = final_digest(model)
    return {**figures, **predictions(experiment, batches[0]["images"]), **memory(), "rows": rows, "digest": digest}


class Timer(keras.callbacks.Callback):
    """A callback that measures how many images per second each epoch trains. An epoch has `images` images."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images, self.begun = images, 0.0
        self.speeds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.speeds.append(self.images / (time.perf_counter() - self.begun))


def predictions(experiment: ProbeStage, images: Any) -> dict[str, Any]:
    forward = compile_forward(experiment.network)
    first = seconds(forward, images, 1)
    once = min(seconds(forward, images, 1) for _ in range(2))
    repeats = min(200, math.ceil(SECONDS / max(once, 1e-6)))
    speeds = [len(images) * repeats / seconds(forward, images, repeats) for _ in range(ROUNDS)]
    return {"first_prediction": first, "predict": speeds}


def seconds(forward: Callable[..., Any], images: Any, repeats: int) -> float:
    begun = time.perf_counter()
    for _ in range(repeats):
        forward(images)
    return time.perf_counter() - begun


def memory() -> dict[str, float | None]:
    """Return the peak memory of the process in MiB, on the host and on the device. An unknown number is None."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, ru_maxrss of a new process starts at that of its parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        host: float | None = int(line.split()[1]) / 2**10
    elif sys.platform == "win32":
        host = None
    else:
        import resource

        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
    return {"host_mib": host, "device_mib": device_peak()}


def device_peak() -> float | None:
    if keras.backend.backend() == "jax":
        import jax

        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        return None if peak is None else peak / 2**20
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
