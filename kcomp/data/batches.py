"""Load batches of images in advance, with threads."""

import copy
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from kcomp.data.batch_layers import apply_on_host, check_layer_order
from kcomp.data.draws import Purpose, generator, item_of
from kcomp.data.image_size import ImageSize, height_and_width
from kcomp.data.images import Images
from kcomp.data.resampling import resample
from kcomp.data.sampling import copy_numbers, draw_rows, sampling_weights
from kcomp.data.tables import Table
from kcomp.data.transforms import Transform, as_transform

if TYPE_CHECKING:
    from kcomp.data.keras_dataset import BatchDataset

Batch = dict[str, Any]  # see `Batches.load`


class Batches:
    """Batches of the images of a table, and of their labels.

    A batch has the same content on every backend and with any number of threads.

    Args:
        table: The images and their labels, in at least one row.
        image_size: The size of every image in pixels: one number for a square, or (height, width).
        batch_size: How many rows a batch has, from 1. If `training` is True, rows at the end of an epoch that do not
            fill a batch are skipped. If it is False, the last batch repeats its last row until it is full, so that all
            batches have one shape.
        training: Whether to draw a new order and new augmentations each epoch and to apply `layers`. If False, rows
            keep the order of the table.
        seed: Seed of all random numbers.
        transform: An albumentations.Compose that turns one uint8 image into one of `image_size`, or None. With PyTorch
            installed, also a `Compose` of torchvision.transforms.v2 from uint8 to uint8 tensors. The transform is
            seeded anew for each image, so it must not store anything from one image to the next.
        layers: Layers that change whole batches in training. Keras layers that take a dict of `images` and `labels`,
            such as KerasCV's, come first and are applied before the training step. Layers of `kcomp.augment`, such as
            MixUp, come last: NumPy draws the random numbers of these layers, and the training step applies the layers.
        sampling: How the rows of a training epoch are drawn. None for each row once. "balanced" draws each class
            equally often. The name of a column of the table draws rows in proportion to the weights there. The number
            of batches stays the same, and a row that is drawn twice is augmented differently.
        images: How to decode, resize and cache images. None means `Images(image_size)`, which stretches images to
            `image_size`.

    Raises:
        ValueError: If the table is empty, `batch_size` is below 1, `transform` is of another kind, or
            `layers` are in the wrong order.

    Examples:
        >>> from kcomp import data
        >>> batches = data.Batches(data.sklearn_digits(), 32, batch_size=16, training=True, seed=0)
        >>> len(batches)
        112
        >>> batch = batches[0]
        >>> batch["images"].shape, batch["labels"].shape
        ((16, 32, 32, 3), (16, 10))
    """

    workers = min(8, os.cpu_count() or 1)  # threads

    def __init__(
        self,
        table: Table,
        image_size: ImageSize,
        *,
        batch_size: int,
        training: bool = False,
        seed: int = 0,
        transform: Transform | None = None,
        layers: Sequence[Any] = (),
        images: Images | None = None,
        sampling: str | None = None,
    ) -> None:
        if not len(table):
            raise ValueError("batches need at least one row; the table is empty")
        if batch_size < 1:
            raise ValueError(f"the batch size must be at least 1; received {batch_size}")
        check_layer_order(layers)
        self.table, self.image_size, self.training, self.seed = table, image_size, training, seed
        self.batch_size = min(batch_size, len(table)) if training else batch_size
        self.transform, self.layers = as_transform(transform), tuple(layers) if training else ()
        self.images = (images or Images(image_size)).with_range(table.value_range)
        self.shape: tuple[int, ...] = (*height_and_width(image_size), self.images.channels)
        self._ids, self._sources = table.ids, table.images
        self._items = [item_of(image_id) for image_id in self._ids]
        self._by_id = np.array(sorted(range(len(table)), key=self._ids.__getitem__))
        self._labels = None if table.target is None else table.labels
        self.reduced_to: tuple[int, int] | None = None
        self.sampling = sampling if training else None
        self._weights = None if self.sampling is None else sampling_weights(table, self.sampling)[self._by_id]
        self._local = threading.local()

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        rows = len(self.table)
        return rows // self.batch_size if self.training else -(-rows // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        """Return batch number `index` of epoch 0.

        Raises:
            IndexError: If the epoch has fewer batches.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"the batches of an epoch are 0 to {len(self) - 1}; received {index}")
        return self.load(0, index)

    def order(self, epoch: int) -> np.ndarray:
        """Return the table positions of an epoch's rows, in the order of the batches.

        The shape is (len(self) * batch_size,).
        """
        if self.training:
            draws = generator(self.seed, Purpose.ORDER, epoch)
            drawn = draws.permutation(len(self.table)) if self._weights is None else draw_rows(draws, self._weights)
            return self._by_id[drawn][: len(self) * self.batch_size]
        rows = np.arange(len(self) * self.batch_size)
        return np.minimum(rows, len(self.table) - 1)

    def resized(self, image_size: ImageSize) -> "Batches":
        """Return batches with smaller images. An image is augmented at the original size, and then made smaller.

        Raises:
            ValueError: If the size is not valid, or larger than the images.
        """
        height, width = height_and_width(image_size)
        if height > self.shape[0] or width > self.shape[1]:
            raise ValueError(
                f"images can only be made smaller than {self.shape[0]} x {self.shape[1]}; received {image_size}"
            )
        smaller = copy.copy(self)
        smaller.image_size, smaller.reduced_to = image_size, (height, width)
        return smaller

    def image(self, row: int, epoch: int = 0, copy_number: int = 0) -> np.ndarray:
        """Return the augmented image of one row, uint8 of shape (height, width, channels).

        Args:
            row: Position of the row in the table.
            epoch: The epoch whose augmentation is applied; not used outside of training.
            copy_number: How often the row was drawn before in the epoch. Each copy is augmented differently.

        Raises:
            ValueError: If the image cannot be read, or the transform returns another shape.
        """
        pixels = self.images.load(self._ids[row], self._sources[row])
        if self.transform is not None:
            pixels = self._augment(pixels, row, epoch, copy_number)
        if pixels.shape != self.shape:
            raise ValueError(
                f"the transform must return images of shape {self.shape}; row {self._ids[row]!r} has {pixels.shape}"
            )
        return pixels if self.reduced_to is None else resample(pixels, *self.reduced_to, "area")

    def load(self, epoch: int, index: int) -> Batch:
        """Return batch number `index` of `epoch`, a dict of up to three entries.

        `images` has shape (batch_size, height, width, channels) and values in 0..255, mostly as uint8. `labels` is
        float32 of shape (batch_size, columns), and absent if the table has no labels. `plans` has the random numbers of
        each layer of `kcomp.augment`, and is absent without such layers.
        """
        rows, part = self.order(epoch), slice(index * self.batch_size, (index + 1) * self.batch_size)
        copies = np.zeros_like(rows) if self._weights is None else copy_numbers(rows)
        return self.assemble(rows[part], epoch, index, copies[part])

    def assemble(self, rows: np.ndarray, epoch: int = 0, index: int = 0, copies: np.ndarray | None = None) -> Batch:
        """Return a batch of the rows at the positions `rows`, in the form that `load` returns.

        `epoch` and `index` (the position of the batch in the epoch) determine the augmentation. `copies` has how often
        each row was drawn before in the epoch; None for never.
        """
        copies = np.zeros_like(rows) if copies is None else copies
        images = stack([self.image(int(row), epoch, int(number)) for row, number in zip(rows, copies, strict=True)])
        batch: Batch = {"images": images}
        if self._labels is not None:
            batch["labels"] = self._labels[rows]
        plans = []
        for number, layer in enumerate(self.layers):
            if hasattr(layer, "draw"):
                draws = generator(self.seed, Purpose.MIX, epoch, item=(index << 8) + number)
                plans.append(layer.draw(draws, images.shape[:3], epoch))
            else:
                draws = generator(self.seed, Purpose.BATCH_LAYER, epoch, item=(index << 8) + number)
                batch.update(apply_on_host(layer, batch, int(draws.integers(2**31))))
        if plans:
            batch["plans"] = tuple(plans)
        return batch

    def epochs(self, first: int, count: int = 1, skip: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of `count` epochs, starting with epoch number `first`. Threads load batches in advance.

        `skip` is the number of batches at the start that are left out.
        """
        numbers = ((epoch, index) for epoch in range(first, first + count) for index in range(len(self)))
        yield from ahead(self.load, itertools.islice(numbers, skip, None), self.workers)

    def as_dataset(self, workers: int | None = None) -> "BatchDataset":
        """Return the batches as a keras.utils.PyDataset, for `fit`, `evaluate` and `predict` of any Keras model.

        Each batch is a tuple. Its first element is the images, float32 (rows, height, width, channels) in 0..255. If
        the table has labels, the second element is the labels, float32 (rows, columns). `layers` are already applied.
        In training, each epoch has a new order of the rows and new augmentation. Pass `shuffle=False` to `fit`, so that
        batches are loaded in advance.

        Args:
            workers: Number of threads that load batches in advance, from 1. None for one for each core, at most 8.

        Raises:
            ValueError: If `workers` is below 1.

        Examples:
            >>> import keras
            >>> from kcomp import data
            >>> rows = data.sklearn_digits()
            >>> batches = data.Batches(rows, 8, batch_size=64, training=True)
            >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(10)])
            >>> network.compile("adam", rows.target.loss())
            >>> history = network.fit(batches.as_dataset(), epochs=1, shuffle=False, verbose=0)
            >>> len(history.history["loss"])
            1
        """
        threads = self.workers if workers is None else workers
        if threads < 1:
            raise ValueError(f"workers must be at least 1; received {workers}")
        from kcomp.data.keras_dataset import BatchDataset

        return BatchDataset(self, threads)

    def _augment(self, pixels: np.ndarray, row: int, epoch: int, copy_number: int) -> np.ndarray:
        if not hasattr(self._local, "transform"):  # a Compose has one random generator, so each thread needs a copy
            self._local.transform = copy.deepcopy(self.transform)
        transform: Transform = self._local.transform
        draws = generator(self.seed, Purpose.IMAGE, epoch if self.training else 0, self._items[row], copy_number)
        transform.set_random_seed(int(draws.integers(2**32)))
        return transform(image=pixels)["image"]


def stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Stack images of one shape into a batch: uint8 if all images are uint8, otherwise float32."""
    batch = np.stack(images)
    return batch if batch.dtype == np.uint8 else batch.astype(np.float32, copy=False)


def ahead(load: Callable[..., Any], arguments: Iterator[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Yield load(*values) for each tuple of values in `arguments`, in order. Threads compute results in advance."""
    cv2.setNumThreads(0)  # the threads below already use every core
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    waiting: deque[Future[Any]] = deque()
    try:
        for argument in arguments:
            waiting.append(pool.submit(load, *argument))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also if the caller stops early, or an image cannot be read
        pool.shutdown(wait=True, cancel_futures=True)
