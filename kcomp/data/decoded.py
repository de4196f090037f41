"""Cache decoded images on disk. All kcomp processes share the cache, and its size is limited."""

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
RECENT = 3600.0  # seconds between two records of a file's use; only files unused for longer may be removed


class DecodedImages:
    """A folder of limited size that stores decoded images (uint8 pixels) by key.

    To make room for a new image, files that were not used recently are removed, the oldest first. Reading and writing
    raise no errors.

    Args:
        folder: The folder. It is created when needed.
        limit: Largest size of the folder in bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._cutoff = time.time() - RECENT
        self._lock = threading.Lock()
        self._used = self._bound = self._uncounted = 0
        self._unused: list[tuple[float, str]] = []  # (last use, name) of removable files, newest first
        self._counted = False
        self._writing = True

    def get(self, key: str, channels: int = 3) -> np.ndarray | None:
        """Return read-only pixels, shape (height, width, channels). None if the file is absent or damaged."""
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
        """Store contiguous uint8 pixels of shape (height, width, channels) under `key`, unless the folder is full."""
        if not self._writing:
            return
        content = pack(pixels)
        try:
            with self._lock:
                room = self._make_room(len(content))
            if room:
                with replacing(
                    self.folder / key, synced=False
                ) as file:  # not synced, because the checksum detects a file that a power cut damaged
                    file.write(content)
        except OSError as error:
            self._stop(f"cannot be written ({error.strerror or error})")

    def _make_room(self, size: int) -> bool:
        """Remove unused files to make room for `size` bytes if needed. Return whether the bytes fit."""
        if not self._counted or self._uncounted > self.limit // 8:
            self._count()
        self._remove_until(size)
        if self._used + size > self._bound and self._uncounted:
            self._count()  # another process may have removed files, or written the same files
            self._remove_until(size)
        if self._used + size > self._bound:
            self._stop(f"is full ({self._used / 2**30:.1f} GiB; `cache_bytes` allows {self.limit / 2**30:.1f} GiB)")
            return False
        self._used += size
        self._uncounted += size
        return True

    def _count(self) -> None:
        """Set `_used` to the sum of the file sizes in the folder, and `_unused` to the files that may be removed."""
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
            if status.st_mtime < self._cutoff:  # otherwise the file was used after `_count`
                path.unlink()
                self._used -= status.st_size

    def _stop(self, reason: str) -> None:
        if self._writing:
            self._writing = False
            message = f"the cache of decoded images {reason}: {self.folder}; images not in it are decoded every epoch"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


@functools.cache
def decoded_images(folder: Path, limit: int) -> DecodedImages:
    """Return the `DecodedImages` of a folder. Calls with equal arguments return the same object."""
    return DecodedImages(folder, limit)


def pack(pixels: np.ndarray) -> bytes:
    content = pixels.tobytes()
    content += bytes(-len(content) % 8)
    return HEADER.pack(MAGIC, *pixels.shape[:2], checksum(content)) + content


def unpack(content: bytes, channels: int = 3) -> np.ndarray | None:
    """Return the pixels in bytes that `pack` returned, without a copy.

    Return None if the header, the checksum or the number of channels is wrong.
    """
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
    """Return the sum of the little-endian 64-bit words from byte number `start` on, modulo 2**64."""
    return int(np.frombuffer(content, "<u8", offset=start).sum(dtype=np.uint64))
