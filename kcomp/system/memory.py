"""Settings of the C library's allocator."""

import ctypes
import platform

from kcomp.system.fast_switch import fast_paths_are_on

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # from malloc.h


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation. Do nothing with another C library or KCOMP_FAST=0.

    By default, glibc returns the memory of large arrays to the system, and requests it again at each training step.
    With these settings, the process keeps its peak memory until it ends. Call this before the backend starts its
    threads, because glibc creates an arena (a memory area) for each new thread.
    """
    if not fast_paths_are_on() or platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_ARENA_MAX, 1)  # an arena of a thread is too small for large arrays, so glibc would map them
    library.mallopt(M_MMAP_MAX, 0)  # take large arrays from the heap
    library.mallopt(M_TRIM_THRESHOLD, -1)  # never return the heap's top to the system
