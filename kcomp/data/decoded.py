"""A cache of decoded images on disk, of limited size, shared by epochs, folds, backends and runs."""

import contextlib
import functools
import io
import os
import shutil
import struct
import threading
import time
import warnings
from pathlib import Path

import numpy as np

from kcomp.system.files import replacing

MAGIC = b"kcomp 1\n"
HEADER = struct.Struct("<8sIIQ")  # magic, height, width, checksum of the content
RECENT = 3600.0  # seconds; how often a use is recorded, and how long a used file is safe from removal


class DecodedImages:
    """A folder of limited size that stores uint8 pixels by key.

    The folder never takes more than half of the disk space that would be free without it. A file's modification time is
    the time of its last use, to the hour. A full folder makes room by removing files, the oldest first. Only files that
    were not used in the hour before the process started may be removed. If there are none, new images are not stored:
    in epochs of random order, replacing files that are in use would give fewer hits.

    Processes may share the folder. A file is complete or absent. Each process counts the files again after it has
    written an eighth of the limit, so several processes may exceed the limit by an eighth each. Reading and writing
    raise no errors: an unreadable file counts as absent, and after a failed write the process warns and writes no more.

    Args:
        folder: The folder. It is created when needed.
        limit: Largest size of the folder in bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._cutoff = time.time() - RECENT
        self._lock = threading.Lock()
        self._used = self._bound = self._uncounted = 0
        self._unused: list[tuple[float, str]] = []  # last use and name of removable files, the oldest last
        self._counted = False
        self._writing = True

    def get(self, key: str, channels: int = 3) -> np.ndarray | None:
        """Return read-only pixels (height, width, channels), or None if the file is absent or damaged."""
        path = f"{self.folder}/{key}"
        try:
            with io.FileIO(path) as file:
                content = file.read()
                used = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        if used < time.time() - RECENT:
            with contextlib.suppress(OSError):
                os.utime(path)
        return unpack(content, channels)

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Store contiguous uint8 pixels (height, width, channels), if they fit into the folder."""
        if not self._writing:
            return
        content = pack(pixels)
        try:
            with self._lock:
                room = self._make_room(len(content))
            if room:
                with replacing(
                    self.folder / key, synced=False
                ) as file:  # the checksum detects a file that a power cut damaged
                    file.write(content)
        except OSError as error:
            self._stop(f"cannot be written ({error.strerror or error})")

    def _make_room(self, size: int) -> bool:
        """Return whether `size` more bytes fit, after removing unused files."""
        if not self._counted or self._uncounted > self.limit // 8:
            self._count()
        self._remove_until(size)
        if self._used + size > self._bound and self._uncounted:
            self._count()  # another process may have removed files, or written the same ones
            self._remove_until(size)
        if self._used + size > self._bound:
            self._stop(f"is full ({self._used / 2**30:.1f} GiB; `cache_bytes` allows {self.limit / 2**30:.1f} GiB)")
            return False
        self._used += size
        self._uncounted += size
        return True

    def _count(self) -> None:
        """Add up the files of the folder, and list those that may be removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._used, self._unused = 0, []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # another process removed it
                    status = entry.stat()
                    self._used += status.st_size
                    if status.st_mtime < self._cutoff:
                        self._unused.append((status.st_mtime, entry.name))
        self._unused.sort(reverse=True)
        self._bound = min(self.limit, (self._used + shutil.disk_usage(self.folder).free) // 2)
        self._counted, self._uncounted = True, 0

    def _remove_until(self, size: int) -> None:
        """Remove unused files, the oldest first, until `size` more bytes fit."""
        while self._unused and self._used + size > self._bound:
            self._remove(self._unused.pop()[1])

    def _remove(self, name: str) -> None:
        path = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if status.st_mtime < self._cutoff:  # else it was used after the count
                path.unlink()
                self._used -= status.st_size

    def _stop(self, reason: str) -> None:
        if self._writing:
            self._writing = False
            message = f"the cache of decoded images {reason}: {self.folder}; images not in it are decoded every epoch"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


@functools.cache
def decoded_images(folder: Path, limit: int) -> DecodedImages:
    """Return the cache of a folder. Every call returns the same object, so a process counts the files only once."""
    return DecodedImages(folder, limit)


def pack(pixels: np.ndarray) -> bytes:
    content = pixels.tobytes()
    content += bytes(-len(content) % 8)
    return HEADER.pack(MAGIC, *pixels.shape[:2], checksum(content)) + content


def unpack(content: bytes, channels: int = 3) -> np.ndarray | None:
    """Return the pixels that `pack` converted to bytes, without a copy. None for other content."""
    if len(content) < HEADER.size:
        return None
    magic, height, width, expected = HEADER.unpack_from(content)
    size = height * width * channels
    if magic != MAGIC or len(content) != HEADER.size + size + -size % 8:
        return None
    if checksum(content, HEADER.size) != expected:
        return None
    return np.frombuffer(content, np.uint8, size, HEADER.size).reshape(height, width, channels)


def checksum(content: bytes, start: int = 0) -> int:
    """Return the sum of the little-endian 64-bit words, modulo 2**64. It is faster than CRC-32."""
    return int(np.frombuffer(content, "<u8", offset=start).sum(dtype=np.uint64))
