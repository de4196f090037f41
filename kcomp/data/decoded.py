"""Decoded images kept on disk for later epochs, folds, backends and runs; bounded, and never needed."""

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
HEADER = struct.Struct("<8sIIQ")  # magic, height, width, the sum of the content as 64-bit words
RECENT = 3600.0  # seconds; a use is noted at most so often, and what was used since is never removed for something new


class DecodedImages:
    """Files of uint8 RGB pixels by key, at most `limit` bytes of them in `folder`, and never more than half of what
    the disk would have free without them.

    A file's time of change is the time of its last use, to the hour. Where there is no room, files that had gone
    unused for an hour when this process began make room, the oldest first; what is in use stays, which serves an epoch
    in random order better than any eviction. Processes may share the folder: a file is whole or absent, and each
    process counts anew what is there after every eighth of the limit it has written, so that many who fill it at
    once may exceed the limit by an eighth each. Reading and writing never fail: what cannot be read is absent, and
    where a file cannot be written, no more are, and a warning says so.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._cutoff = time.time() - RECENT
        self._lock = threading.Lock()
        self._used = self._bound = self._uncounted = 0
        self._unused: list[tuple[float, str]] = []  # time of use and name of what may be removed, the oldest last
        self._counted = False
        self._writing = True

    def get(self, key: str) -> np.ndarray | None:
        """The pixels of shape (height, width, 3), read-only; None where there are none, or the file is damaged."""
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
        return unpack(content)

    def put(self, key: str, pixels: np.ndarray) -> None:
        """Keep contiguous uint8 pixels of shape (height, width, 3) where there is room for them."""
        if not self._writing:
            return
        content = pack(pixels)
        try:
            with self._lock:
                room = self._make_room(len(content))
            if room:
                with replacing(self.folder / key, synced=False) as file:  # the sum tells what a power cut broke
                    file.write(content)
        except OSError as error:
            self._stop(f"cannot be written ({error.strerror or error})")

    def _make_room(self, size: int) -> bool:
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
        """Look at every file of the folder: 50,000 take some tenths of a second."""
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
        """Remove unused files, the oldest first, until `size` bytes more have room."""
        while self._unused and self._used + size > self._bound:
            self._remove(self._unused.pop()[1])

    def _remove(self, name: str) -> None:
        path = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if status.st_mtime < self._cutoff:  # else it has been used since it was counted
                path.unlink()
                self._used -= status.st_size

    def _stop(self, reason: str) -> None:
        if self._writing:
            self._writing = False
            message = f"the cache of decoded images {reason}: {self.folder}; images not in it are decoded every epoch"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


@functools.cache
def decoded_images(folder: Path, limit: int) -> DecodedImages:
    """The process's one cache of a folder, so that training and held-out rows count its files once."""
    return DecodedImages(folder, limit)


def pack(pixels: np.ndarray) -> bytes:
    content = pixels.tobytes()
    content += bytes(-len(content) % 8)
    return HEADER.pack(MAGIC, *pixels.shape[:2], sum_of(content)) + content


def unpack(content: bytes) -> np.ndarray | None:
    """What `pack` packed, without a copy; None for anything else."""
    if len(content) < HEADER.size:
        return None
    magic, height, width, expected = HEADER.unpack_from(content)
    size = height * width * 3
    if magic != MAGIC or len(content) != HEADER.size + size + -size % 8:
        return None
    if sum_of(content, HEADER.size) != expected:
        return None
    return np.frombuffer(content, np.uint8, size, HEADER.size).reshape(height, width, 3)


def sum_of(content: bytes, start: int = 0) -> int:
    """The sum modulo 2**64 of little-endian 64-bit words: a third of CRC-32's time for the damage that disks do."""
    return int(np.frombuffer(content, "<u8", offset=start).sum(dtype=np.uint64))
