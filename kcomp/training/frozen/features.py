"""Features of a frozen network: computed once for each image and draw, kept on disk, and in memory while they fit."""

import hashlib
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kcomp.data.batches import Batches, ahead
from kcomp.prediction.forward import Forward
from kcomp.system.cache import cache_folder
from kcomp.system.files import replacing
from kcomp.training.frozen.keys import draws, identity

Place = tuple[int, int]  # position of a row, number of a draw


class Features:
    """What the frozen part of a network gives for the images of a table.

    batches:      give the images: `batches.image(row, draw)`.
    shape:        of one image's features.
    key:          of feature_keys.features_key; names the folder, so that whoever has the same key shares it.
    memory_bytes: how much is kept in memory; the rest is read when it is needed. What the disk does not take is kept
                  in memory however much it is, and `failure` says why.

    A file holds one image's features for one draw: float32 and a checksum, so a damaged file counts as missing.
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
        self._kept: dict[Place, np.ndarray] = {}

    def fill(self, forward: Forward, numbers: Sequence[int], count: int) -> int:
        """Compute what is missing of these draws of every row, `count` images at a time, and return how much that was.

        `forward` takes images float32 (count, size, size, 3) in 0..255 and gives features (count, *shape).
        """
        wanted = [(row, draw) for draw in self.distinct(numbers) for row in range(len(self._names))]
        found = ahead(self.find, iter(wanted), self.batches.workers)
        missing = [place for place, there in zip(wanted, found, strict=True) if not there]
        needed = len(missing) * self._bytes
        if missing and self.failure is None and needed > free_bytes(self.folder) / 2:
            self.failure = OSError(f"{needed / 2**30:.1f} GiB would be more than half of what is free")
        parts = [missing[start : start + count] for start in range(0, len(missing), count)]
        images = ahead(self.images, ((part, count) for part in parts), self.batches.workers)
        for part, given in zip(parts, images, strict=True):
            for (row, draw), values in zip(part, forward(given), strict=False):  # the last part is filled up
                self.keep(row, draw, np.array(values, np.float32))
        return len(missing)

    def get(self, row: int, draw: int) -> np.ndarray:
        """The features of a row's image as `draw` shows it; ValueError where the file has gone since `fill`."""
        draw = self.distinct([draw])[0]
        values = self._kept.get((row, draw))
        if values is None:
            values = self.read(row, draw)
        if values is None:
            raise ValueError(f"{self.path(row, draw)} was removed or damaged while it was in use; start the run again")
        return values

    def distinct(self, numbers: Sequence[int]) -> list[int]:
        """The draws that differ: one where nothing is drawn."""
        return list(numbers) if draws(self.batches) else [0]

    def images(self, places: Sequence[Place], count: int) -> np.ndarray:
        """The images of these places, the last one repeated up to `count`: every call has one shape."""
        pixels = [self.batches.image(row, draw) for row, draw in places]
        return np.stack([*pixels, *[pixels[-1]] * (count - len(pixels))]).astype(np.float32)

    def find(self, row: int, draw: int) -> bool:
        """Whether the disk has these features; they are taken into memory where there is room."""
        values = self.read(row, draw)
        if values is not None and self.room():
            self._kept[row, draw] = values
        return values is not None

    def keep(self, row: int, draw: int, values: np.ndarray) -> None:
        """Write features to the disk, and take them into memory where there is room or the disk fails."""
        content = np.ascontiguousarray(values, "<f4").tobytes()
        if self.failure is None:
            try:
                with replacing(self.path(row, draw), synced=False) as file:  # the checksum tells what a power cut left
                    file.write(content + checksum(content))
            except OSError as error:
                self.failure = error
        if self.failure is not None or self.room():
            self._kept[row, draw] = values

    def room(self) -> bool:
        return (len(self._kept) + 1) * self._bytes <= self.memory_bytes

    def read(self, row: int, draw: int) -> np.ndarray | None:
        """The features on the disk, or None where the file is missing, unreadable or damaged."""
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
    """Free space where a folder lies, or will lie."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "little")
