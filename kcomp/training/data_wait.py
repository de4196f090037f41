"""Measure the share of the first epoch in which training waits for images."""

import time
from collections.abc import Iterator
from typing import Any

import keras
from rich.console import Console

from kcomp.data.batches import Batch, Batches

LARGE = 0.1  # above this share of an epoch, `describe_wait` suggests changes


class DataWait(keras.callbacks.Callback):
    """Print the share of the first epoch in which training waited for batches.

    If the share is above a tenth, also print what to change. The first step is not counted.

    Args:
        console: Where to print.
        batches: The batches of an epoch.
        silent: Whether to print nothing.
    """

    def __init__(self, console: Console, batches: Batches, *, silent: bool = False) -> None:
        super().__init__()
        self.console, self.batches = console, batches
        self.waited, self.started = 0.0, 0.0
        self.done = silent or len(batches) < 2

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches unchanged, and add the time spent waiting for each batch to the attribute `waited`."""
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.waited += time.perf_counter() - before
            yield batch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.started:
            self.started, self.waited = time.perf_counter(), 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.done:
            share = self.waited / max(time.perf_counter() - self.started, 1e-9)
            self.console.print(describe_wait(min(share, 1.0), self.batches), highlight=False, soft_wrap=True)
        self.done = True


def describe_wait(share: float, batches: Batches) -> str:
    """Return a text that says how long training waited for images and, if that was long, what to change.

    Args:
        share: The share of the first epoch in which training waited, from 0 to 1.
        batches: The batches.
    """
    text = f"{share:.0%} of the first epoch waited for images"
    if share <= LARGE:
        return text
    changes = []
    if not batches.images.is_cached:
        changes.append("cache decoded images with data.Images(cache_bytes=...)")
    if not batches.images.reduced:
        changes.append("decode large JPEGs smaller with data.Images(reduced=True)")
    if batches.transform is not None:
        changes.append("use cheaper transforms or fewer")
    changes.append(f"give the process more cores ({batches.workers} threads load images)")
    cached = "; later epochs read decoded images from the cache" if batches.images.is_cached else ""
    return f"{text}{cached}. To wait less, {', or '.join(changes)}"
