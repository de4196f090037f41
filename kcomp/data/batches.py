"""Batches of float32 images in 0..255, loaded ahead by threads; every draw is keyed by seed, epoch and row."""

import copy
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import cv2
import numpy as np

from kcomp.data.draws import Purpose, generator, item_of
from kcomp.data.images import Images
from kcomp.data.tables import Table

Batch = dict[str, np.ndarray]


class Transform(Protocol):
    """What is used of an albumentations.Compose."""

    def set_random_seed(self, seed: int) -> None: ...
    def __call__(self, *, image: np.ndarray) -> dict[str, Any]: ...


class Batches:
    """The batches of a table, the same on every backend, for any number of workers.

    table:       the rows.
    image_size:  height and width of every image of a batch, in pixels.
    batch_size:  rows a batch. Training drops the rows left over at an epoch's end (each epoch draws a new order);
                 otherwise the last batch repeats its last row, so that every batch has one shape.
    training:    draw a new order and new augmentations each epoch, and mix; else rows keep the table's order.
    seed:        of every draw.
    transform:   an albumentations.Compose (or None) that turns one uint8 image into image_size x image_size. It is
                 seeded for each image, so it must not hold state of its own.
    layers:      batch layers. One with a method `draw` (augment.MixUp ...) has its plan drawn here and is applied
                 in training, on the device; any other Keras layer that takes {"images", "labels"} (KerasCV's) is
                 applied here, to the assembled batch.
    images:      how images are decoded and cached; by default stretched to image_size.
    """

    workers = min(8, os.cpu_count() or 1)

    def __init__(
        self,
        table: Table,
        image_size: int,
        *,
        batch_size: int,
        training: bool = False,
        seed: int = 0,
        transform: Transform | None = None,
        layers: Sequence[Any] = (),
        images: Images | None = None,
    ) -> None:
        if not len(table):
            raise ValueError("batches need at least one row; the table is empty")
        if batch_size < 1:
            raise ValueError(f"the batch size must be at least 1; received {batch_size}")
        if transform is not None and not (callable(transform) and hasattr(transform, "set_random_seed")):
            raise ValueError(f"transform must be an albumentations.Compose, or None; received {transform!r}")
        planned = [hasattr(layer, "draw") for layer in layers]
        if planned != sorted(planned):
            raise ValueError(
                "layers that draw for themselves run before the step, those with a plan (augment.*) in it; list them "
                f"in that order; received {[type(layer).__name__ for layer in layers]}"
            )
        self.table, self.image_size, self.training, self.seed = table, image_size, training, seed
        self.shape: tuple[int, ...] = (image_size, image_size, 3)
        self.batch_size = min(batch_size, len(table)) if training else batch_size
        self.transform, self.layers = transform, tuple(layers) if training else ()
        self.images = images or Images(image_size)
        self._ids, self._sources = table.ids, table.images
        self._items = [item_of(image_id) for image_id in self._ids]
        self._by_id = np.array(sorted(range(len(table)), key=self._ids.__getitem__))
        self._labels = table.labels if table.classes else None
        self._local = threading.local()

    def __len__(self) -> int:
        """Batches an epoch."""
        rows = len(self.table)
        return rows // self.batch_size if self.training else -(-rows // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        """Batch number `index` of epoch 0, to look at: `batches[0]["images"]`. IndexError beyond the last."""
        if not 0 <= index < len(self):
            raise IndexError(f"the batches of an epoch are 0 to {len(self) - 1}; received {index}")
        return self.load(0, index)

    def order(self, epoch: int) -> np.ndarray:
        """Positions of the rows of `epoch`, whole batches: the length is len(self) * batch_size."""
        if self.training:
            drawn = generator(self.seed, Purpose.ORDER, epoch).permutation(len(self.table))
            return self._by_id[drawn][: len(self) * self.batch_size]
        rows = np.arange(len(self) * self.batch_size)
        return np.minimum(rows, len(self.table) - 1)

    def image(self, row: int, epoch: int = 0) -> np.ndarray:
        """Image of the row at position `row` as uint8 (image_size, image_size, 3), augmented as `epoch` draws it."""
        pixels = self.images.load(self._ids[row], self._sources[row])
        if self.transform is not None:
            pixels = self._augment(pixels, row, epoch)
        if pixels.shape != self.shape:
            raise ValueError(
                f"an image must leave the transform with shape {self.shape}; row {self._ids[row]!r} has {pixels.shape}"
            )
        return pixels

    def load(self, epoch: int, index: int) -> Batch:
        """Batch number `index` of `epoch`: `images` float32 (batch, size, size, 3) in 0..255, `labels` float32
        (batch, classes) where the table has them, and the plan of each layer that draws one.
        """
        return self.assemble(self.order(epoch)[index * self.batch_size :][: self.batch_size], epoch, index)

    def assemble(self, rows: np.ndarray, epoch: int = 0, index: int = 0) -> Batch:
        """The batch of the rows at these positions, drawn for `epoch` and as its update number `index`."""
        images = np.empty((len(rows), *self.shape), np.float32)
        for place, row in enumerate(rows):
            images[place] = self.image(int(row), epoch)
        batch: Batch = {"images": images}
        if self._labels is not None:
            batch["labels"] = self._labels[rows]
        for number, layer in enumerate(self.layers):
            if hasattr(layer, "draw"):
                draws = generator(self.seed, Purpose.MIX, epoch, item=(index << 8) + number)
                plan = layer.draw(draws, images.shape[:3], epoch)
                batch.update({f"{number}.{name}": values for name, values in plan.items()})
            else:
                draws = generator(self.seed, Purpose.BATCH_LAYER, epoch, item=(index << 8) + number)
                batch.update(apply_on_host(layer, batch, int(draws.integers(2**31))))
        return batch

    def epochs(self, first: int, count: int = 1) -> Generator[Batch, None, None]:
        """Yield the batches of `count` epochs from number `first` on; threads stay `workers` + 1 batches ahead."""
        wanted = ((epoch, index) for epoch in range(first, first + count) for index in range(len(self)))
        yield from ahead(self.load, wanted, self.workers)

    def _augment(self, pixels: np.ndarray, row: int, epoch: int) -> np.ndarray:
        if not hasattr(self._local, "transform"):  # a Compose holds its generator, so threads cannot share one
            self._local.transform = copy.deepcopy(self.transform)
        transform: Transform = self._local.transform
        draws = generator(self.seed, Purpose.IMAGE, epoch if self.training else 0, self._items[row])
        transform.set_random_seed(int(draws.integers(2**32)))
        return transform(image=pixels)["image"]


def ahead(load: Callable[..., Any], arguments: Iterator[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Yield load(*a) for each a, in order, computed by `workers` threads at most `workers` + 1 results ahead."""
    cv2.setNumThreads(0)  # our threads already fill the cores
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    waiting: deque[Future[Any]] = deque()
    try:
        for argument in arguments:
            waiting.append(pool.submit(load, *argument))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the reader stops early, or an image cannot be read
        pool.shutdown(wait=True, cancel_futures=True)


_host_layer = threading.Lock()


def apply_on_host(layer: Any, batch: Batch, seed: int) -> Batch:
    """Apply a Keras layer that draws for itself to a batch, outside the compiled step; `seed` fixes its draws."""
    from kcomp.data.foreign_layers import call_seeded

    with _host_layer:  # seeding is global, so one batch at a time
        return call_seeded(layer, batch, seed)
