"""Cache features (outputs of a frozen network) on disk and in memory, and compute the missing ones."""

import hashlib
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kcomp.data.batches import Batches, ahead, stack
from kcomp.prediction.forward import Forward
from kcomp.system.cache import cache_folder
from kcomp.system.files import replacing
from kcomp.training.frozen.keys import identity, is_random

Place = tuple[int, int]  # position of an image's row, and a draw: the epoch whose augmentation the image has


class Features:
    """The cached features of a table's images. Features are the outputs of a frozen network.

    Each file has the features of one image, as augmented in one epoch. A damaged file counts as missing.

    Args:
        batches: The source of the images.
        shape: The shape of one image's features.
        key: The name of the cache folder, from keys.features_key. Runs with the same key share the folder.
        memory_bytes: How many bytes of features may stay in memory. If the disk cannot be written, all features stay in
            memory.
    """

    def __init__(self, batches: Batches, shape: Sequence[int], key: str, *, memory_bytes: int = 1 << 30) -> None:
        self.batches, self.shape, self.memory_bytes = batches, tuple(shape), memory_bytes
        self.folder = cache_folder() / "features" / key
        self.failure: OSError | None = None
        self._names = [
            hashlib.blake2b(f"{image_id}\0{identity(image)}".encode(), digest_size=16).hexdigest()
            for image_id, image in zip(batches.table.ids, batches.table.images, strict=True)
        ]
        self._bytes = 4 * int(np.prod(self.shape))
        self._memory: dict[Place, np.ndarray] = {}

    def fill(self, forward: Forward, numbers: Sequence[int], count: int) -> int:
        """Compute and cache the missing features of all images as augmented in some epochs.

        Args:
            forward: Function from images, (count, height, width, 3) in 0..255, to features, (count, *shape).
            numbers: The epochs, from 0.
            count: How many images one call of `forward` takes.

        Returns:
            The number of computed features: one for each missing pair of image and epoch.
        """
        places = [(row, draw) for draw in self.distinct(numbers) for row in range(len(self._names))]
        cached = ahead(self.find, iter(places), self.batches.workers)
        missing = [place for place, is_cached in zip(places, cached, strict=True) if not is_cached]
        needed = len(missing) * self._bytes
        if missing and self.failure is None and needed > free_bytes(self.folder) / 2:
            self.failure = OSError(f"{needed / 2**30:.1f} GiB would be more than half of what is free")
        parts = [missing[start : start + count] for start in range(0, len(missing), count)]
        images = ahead(self.images, ((part, count) for part in parts), self.batches.workers)
        for part, pixels in zip(parts, images, strict=True):
            for (row, draw), values in zip(part, forward(pixels), strict=False):  # `images` pads the last part
                self.store(row, draw, np.array(values, np.float32))
        return len(missing)

    def get(self, row: int, draw: int) -> np.ndarray:
        """Return the features of an image.

        Args:
            row: The position of the image in the table.
            draw: The epoch whose augmentation the image has.

        Raises:
            ValueError: If the file of the features was deleted or damaged after `fill`.
        """
        draw = self.distinct([draw])[0]
        values = self._memory.get((row, draw))
        if values is None:
            values = self.read_file(row, draw)
        if values is None:
            raise ValueError(f"{self.path(row, draw)} was removed or damaged while it was in use; start the run again")
        return values

    def distinct(self, numbers: Sequence[int]) -> list[int]:
        """Return the epochs to compute: `numbers`, or [0] if the images are not augmented."""
        return list(numbers) if is_random(self.batches) else [0]

    def images(self, places: Sequence[Place], count: int) -> np.ndarray:
        """Return the images of some pairs (table row, epoch) as one array of `count` images.

        If there are fewer pairs, the last image is repeated.
        """
        pixels = [self.batches.image(row, draw) for row, draw in places]
        return stack([*pixels, *[pixels[-1]] * (count - len(pixels))])

    def find(self, row: int, draw: int) -> bool:
        """Return whether the disk has the features of an image. If there is room in memory, load them."""
        values = self.read_file(row, draw)
        if values is not None and self.fits_in_memory():
            self._memory[row, draw] = values
        return values is not None

    def store(self, row: int, draw: int, values: np.ndarray) -> None:
        """Write the features of an image to disk and, if there is room, to memory."""
        content = np.ascontiguousarray(values, "<f4").tobytes()
        if self.failure is None:
            try:
                # not synced, because the checksum detects a file that a power failure cut short
                with replacing(self.path(row, draw), synced=False) as file:
                    file.write(content + checksum(content))
            except OSError as error:
                self.failure = error
        if self.failure is not None or self.fits_in_memory():
            self._memory[row, draw] = values

    def fits_in_memory(self) -> bool:
        return (len(self._memory) + 1) * self._bytes <= self.memory_bytes

    def read_file(self, row: int, draw: int) -> np.ndarray | None:
        try:
            content = self.path(row, draw).read_bytes()
        except OSError:
            return None
        if len(content) != self._bytes + 4 or checksum(content[:-4]) != content[-4:]:
            return None
        return np.frombuffer(content, "<f4", self._bytes // 4).reshape(self.shape)

    def path(self, row: int, draw: int) -> Path:
        return self.folder / str(draw) / f"{self._names[row]}.f32"


def free_bytes(folder: Path) -> int:
    """Return the number of free bytes on the disk of `folder`, which need not exist yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little")
