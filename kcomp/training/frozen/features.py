"""Features of a frozen network, computed once for each augmented image, then cached on disk and in memory.

Training augments an image differently in each epoch. A draw is the number of one of these versions of the image.
"""

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
from kcomp.training.frozen.keys import draws, identity

Place = tuple[int, int]  # position of a row, number of a draw


class Features:
    """The features of a frozen network for the images of a table.

    A file holds one image's features for one draw as float32, and a checksum. A damaged file counts as missing.

    Args:
        batches: Source of the images, by `batches.image(row, draw)`.
        shape: Shape of one image's features.
        key: Result of keys.features_key. It names the folder, so runs with the same key share it.
        memory_bytes: Limit of the cache in memory. Other features are read from disk when needed. If writing to disk
            fails, all features stay in memory, and `failure` is the error.
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
        """Compute the missing features of these draws of every row, and return their number.

        Args:
            forward: Function of images, (count, height, width, 3) in 0..255, that returns (count, *shape).
            numbers: Draws to compute.
            count: Images in one call of `forward`.
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
            for (row, draw), values in zip(part, forward(pixels), strict=False):  # the last part is padded
                self.store(row, draw, np.array(values, np.float32))
        return len(missing)

    def get(self, row: int, draw: int) -> np.ndarray:
        """Return the features of a row and a draw. Raise ValueError if the file was deleted after `fill`."""
        draw = self.distinct([draw])[0]
        values = self._memory.get((row, draw))
        if values is None:
            values = self.read_file(row, draw)
        if values is None:
            raise ValueError(f"{self.path(row, draw)} was removed or damaged while it was in use; start the run again")
        return values

    def distinct(self, numbers: Sequence[int]) -> list[int]:
        """Return `numbers`, or [0] if the images are not augmented, because all draws are then equal."""
        return list(numbers) if draws(self.batches) else [0]

    def images(self, places: Sequence[Place], count: int) -> np.ndarray:
        """Return the images of these places. Repeat the last image up to `count`, so that all calls have one shape."""
        pixels = [self.batches.image(row, draw) for row, draw in places]
        return stack([*pixels, *[pixels[-1]] * (count - len(pixels))])

    def find(self, row: int, draw: int) -> bool:
        """Return whether the features are on the disk. If so, cache them in memory if they fit."""
        values = self.read_file(row, draw)
        if values is not None and self.fits_in_memory():
            self._memory[row, draw] = values
        return values is not None

    def store(self, row: int, draw: int, values: np.ndarray) -> None:
        """Write features to the disk. Cache them in memory if they fit or if the disk fails."""
        content = np.ascontiguousarray(values, "<f4").tobytes()
        if self.failure is None:
            try:
                with replacing(
                    self.path(row, draw), synced=False
                ) as file:  # the checksum detects a file cut short by a power cut
                    file.write(content + checksum(content))
            except OSError as error:
                self.failure = error
        if self.failure is not None or self.fits_in_memory():
            self._memory[row, draw] = values

    def fits_in_memory(self) -> bool:
        return (len(self._memory) + 1) * self._bytes <= self.memory_bytes

    def read_file(self, row: int, draw: int) -> np.ndarray | None:
        """Return the features on the disk, or None if the file is missing, unreadable or damaged."""
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
    """Return the free bytes on the disk of a folder. The folder need not exist yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little")
