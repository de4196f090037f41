"""Let Keras's `fit` read batches, as a keras.utils.PyDataset. Import this module only inside functions."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import keras
import numpy as np

from kcomp.data.tables import Table

_layer_call = threading.Lock()


class Source(Protocol):
    """A protocol: the attributes and methods of `Batches` that `BatchDataset` uses."""

    table: Table
    batch_size: int
    layers: tuple[Any, ...]

    def __len__(self) -> int: ...
    def load(self, epoch: int, index: int) -> dict[str, Any]: ...


class BatchDataset(keras.utils.PyDataset):
    """A Keras data set that returns the batches of a `Batches` object as tuples of images and labels.

    Attributes:
        epoch: The number of the epoch whose batches are returned. It advances after all batches of the epoch were read.
    """

    def __init__(self, source: Source, threads: int) -> None:
        super().__init__(workers=1)
        self.source, self.threads, self.epoch = source, threads, 0
        self.read: set[int] = set()
        self.waiting: dict[int, Future[tuple[np.ndarray, ...]]] = {}
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="dataset")

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Return batch number `index` of the current epoch as a tuple: the images, and the labels if there are any."""
        if not 0 <= index < len(self):
            raise IndexError(f"the batches of an epoch are 0 to {len(self) - 1}; received {index}")
        for number in range(index, len(self)):
            if number != index and len(self.waiting) > self.threads:
                break
            if number not in self.waiting:
                self.waiting[number] = self.pool.submit(self.load, self.epoch, number)
        self.read.add(index)
        return self.waiting.pop(index).result()

    def load(self, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        """Return a batch as a tuple of float32 arrays: images, and labels if there are any.

        All layers of `source` are applied. Repeated rows at the end of the last batch are left out.
        """
        batch = apply_planned(self.source, self.source.load(epoch, index))
        rows = len(self.source.table) - index * self.source.batch_size
        names = [name for name in ("images", "labels") if name in batch]
        return tuple(np.asarray(batch[name], np.float32)[:rows] for name in names)

    def on_epoch_end(self) -> None:
        if len(self.read) < len(self):
            return
        self.epoch += 1
        self.read.clear()
        for future in self.waiting.values():
            future.cancel()
        self.waiting.clear()


def apply_planned(source: Source, batch: dict[str, Any]) -> dict[str, Any]:
    """Apply the layers of kcomp.augment to a batch, with their random numbers `batch["plans"]`. Return NumPy arrays."""
    plans = batch.pop("plans", ())
    planned = [layer for layer in source.layers if hasattr(layer, "draw")]
    if not plans:
        return batch
    with _layer_call:  # a Keras layer builds itself at its first call, so two threads may not call it at once
        for layer, plan in zip(planned, plans, strict=True):
            batch = layer(batch, plan=plan)
    return {name: keras.ops.convert_to_numpy(values) for name, values in batch.items()}
